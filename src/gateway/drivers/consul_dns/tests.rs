//! Recorded answers of a real Consul 1.8.7: eight instances, as SRV and as A; the same with the third instance in
//! maintenance; an unknown service; an instance whose address is a name; an instance whose records live for five
//! seconds; and an answer that was truncated to fit into UDP (`enable_truncate`).

use hickory_proto::rr::Record;
use hickory_proto::rr::rdata::{A, AAAA, SRV};

use super::*;

const EIGHT: &[u8] = include_bytes!("../../../../tests/fixtures/gateway/consul-dns/eight.bin");
const EIGHT_A: &[u8] = include_bytes!("../../../../tests/fixtures/gateway/consul-dns/eight-a.bin");
const ONE_OUT: &[u8] = include_bytes!("../../../../tests/fixtures/gateway/consul-dns/one-out.bin");
const NO_INSTANCE: &[u8] =
    include_bytes!("../../../../tests/fixtures/gateway/consul-dns/no-instance.bin");
const NAME: &[u8] = include_bytes!("../../../../tests/fixtures/gateway/consul-dns/name.bin");
const LIVES: &[u8] = include_bytes!("../../../../tests/fixtures/gateway/consul-dns/lives.bin");
const CUT: &[u8] = include_bytes!("../../../../tests/fixtures/gateway/consul-dns/cut.bin");

/// The positions of the id and the flags in a message, after the length.
const MESSAGE_ID: usize = 2;
const FLAGS: usize = 4;
const CODE: usize = 5;

fn read_as(settings: &str, answer: &[u8]) -> Result<View, String> {
    let settings = format!(r#"{{"server":"10.0.0.5:8600","record":{settings}}}"#);
    let driver =
        ConsulDnsDriver::new(&serde_json::from_str(&settings).expect("settings"), Nodes::default());
    driver.read(&[Reply { status: 200, body: answer.into(), ..Reply::default() }])
}

fn read(answer: &[u8]) -> Result<View, String> {
    read_as(r#""app.service.consul""#, answer)
}

/// An answer with one byte changed.
fn spoilt(answer: &[u8], at: usize, byte: u8) -> Vec<u8> {
    let mut answer = answer.to_vec();
    answer[at] = byte;
    answer
}

/// Which of the eight addresses are routed.
fn routed(view: &View) -> Vec<u8> {
    let address = |number| format!("10.0.1.{number}:9000");
    (1..=8).filter(|number| view.routes_to(&address(*number))).collect()
}

#[test]
fn the_question_is_a_service_record_over_tcp() {
    let settings = r#"{"server":"10.0.0.5:8600","record":"app.service.consul"}"#;
    let driver =
        ConsulDnsDriver::new(&serde_json::from_str(settings).expect("settings"), Nodes::default());
    let [Query::Exchange(server, question, _)] = &driver.queries(Purpose::Look)[..] else {
        panic!("one question")
    };
    assert_eq!(server, "10.0.0.5:8600");
    // Consul repeats the question. Its flags and counts are before it, and its answers after it.
    let name = b"\x03app\x07service\x06consul\x00\x00\x21\x00\x01";
    assert_eq!(question[..4], [0, 36, 0x52, 0x4f]);
    assert_eq!(question[14..], name[..]);
    assert_eq!(EIGHT[14..14 + name.len()], name[..]);
}

/// As a DNS server other than Consul's answers for a host with addresses of both kinds.
#[test]
fn a_target_with_several_addresses_is_routed_to_at_each() {
    let name = |name: &str| Name::from_ascii(name).expect("a name");
    let mut message = Message::new(ID, MessageType::Response, OpCode::Query);
    let service = SRV::new(1, 1, 9000, name("one.example."));
    message.answers.push(Record::from_rdata(name("app.service.consul."), 0, RData::SRV(service)));
    for address in
        [RData::A(A::new(10, 0, 1, 1)), RData::AAAA(AAAA::new(0xfd00, 0, 0, 0, 0, 0, 0, 1))]
    {
        message.additionals.push(Record::from_rdata(name("one.example."), 0, address));
    }
    let message = message.to_vec().expect("a message");
    let length = u16::try_from(message.len()).expect("short").to_be_bytes();
    let view = read(&[&length[..], &message].concat()).expect("readable");
    assert!(view.routes_to("10.0.1.1:9000") && view.routes_to("[fd00::1]:9000"), "{view:?}");
}

#[test]
fn every_instance_is_found_with_the_port_of_its_service_and_the_address_of_its_target() {
    let view = read(EIGHT).expect("readable");
    assert_eq!((routed(&view), view.peers.len()), ((1..=8).collect(), 8));
}

#[test]
fn addresses_alone_get_the_port_of_the_playbook() {
    let view = read_as(r#""app.service.consul","port":9000"#, EIGHT_A).expect("readable");
    assert_eq!((routed(&view), view.peers.len()), ((1..=8).collect(), 8));
}

#[test]
fn an_instance_in_maintenance_is_out() {
    let view = read(ONE_OUT).expect("readable");
    assert_eq!(routed(&view), [1, 2, 4, 5, 6, 7, 8]);
    assert!(view.is_out("10.0.1.3:9000"));
}

#[test]
fn unknown_service_is_an_empty_list() {
    assert_eq!(read_as(r#""nosuch.service.consul""#, NO_INSTANCE), Ok(View::default()));
}

#[test]
fn no_other_response_code_is_an_empty_list() {
    // In the place of NXDOMAIN: `SERVFAIL`, `NOTIMP`, `REFUSED`.
    for code in [2, 4, 5] {
        let error = read_as(r#""nosuch.service.consul""#, &spoilt(NO_INSTANCE, CODE, 0x80 | code));
        assert!(error.expect_err("no list").contains("the DNS server answers"));
    }
}

#[test]
fn truncated_answer_is_refused() {
    let error = read(CUT).expect_err("three of eight");
    assert_eq!(error, "the answer is truncated although it came over TCP");
}

#[test]
fn target_without_an_address_is_refused() {
    let error = read_as(r#""named.service.consul""#, NAME).expect_err("a name only");
    assert_eq!(error, "no SRV record has a target with an address: db.example.internal");
}

/// One SRV record for each target, and an A record for those with an address.
fn answer(targets: &[(&str, Option<[u8; 4]>)]) -> Vec<u8> {
    let name = |name: &str| Name::from_ascii(name).expect("a name");
    let mut message = Message::new(ID, MessageType::Response, OpCode::Query);
    for (target, address) in targets {
        let service = RData::SRV(SRV::new(1, 1, 9000, name(target)));
        message.answers.push(Record::from_rdata(name("app.service.consul."), 0, service));
        if let Some([a, b, c, d]) = *address {
            let address = RData::A(A::new(a, b, c, d));
            message.additionals.push(Record::from_rdata(name(target), 0, address));
        }
    }
    let message = message.to_vec().expect("a message");
    let length = u16::try_from(message.len()).expect("short").to_be_bytes();
    [&length[..], &message].concat()
}

/// As Consul answers for an instance that was registered with a name as its address.
#[test]
fn instance_with_a_name_as_address_does_not_hide_others() {
    let answer = answer(&[("one.addr.", Some([10, 0, 1, 1])), ("db.example.", None)]);
    let view = read(&answer).expect("readable");
    assert!(view.routes_to("10.0.1.1:9000") && view.routes_to("db.example:9000"), "{view:?}");
    assert!(view.is_out("10.0.1.2:9000"));
}

#[test]
fn addresses_alone_are_asked_for_in_the_families_of_the_nodes() {
    let kinds = |nodes: &[&str]| {
        let settings = r#"{"server":"10.0.0.5:8600","record":"app.service.consul","port":9000}"#;
        let settings = serde_json::from_str(settings).expect("settings");
        let nodes: Vec<_> = nodes.iter().map(|node| (*node).to_owned()).collect();
        let driver = ConsulDnsDriver::new(&settings, Nodes::new(&nodes));
        driver.questions().iter().map(hickory_proto::op::Query::query_type).collect::<Vec<_>>()
    };
    assert_eq!(kinds(&["10.0.1.1:9000"]), [RecordType::A]);
    assert_eq!(kinds(&["[::1]:9000"]), [RecordType::AAAA]);
    assert_eq!(kinds(&["[::1]:9000", "app:9000"]), [RecordType::A, RecordType::AAAA]);
}

#[test]
fn records_that_live_longer_than_the_playbook_says_are_refused() {
    let error = read_as(r#""lives.service.consul""#, LIVES).expect_err("five seconds");
    assert_eq!(error, "the TTL of its records is 5s: set `ttl` to this value");
    let view = read_as(r#""lives.service.consul","ttl":"5s""#, LIVES).expect("as it says");
    assert!(view.routes_to("10.0.2.1:9000"));
}

#[test]
fn answer_to_another_question_is_refused() {
    let other = Err("the answer is for another question".to_owned());
    assert_eq!(read(&spoilt(EIGHT, MESSAGE_ID, 0)), other);
    assert_eq!(read_as(r#""other.service.consul""#, EIGHT), other);
    assert_eq!(read_as(r#""app.service.consul","port":9000"#, EIGHT), other);
    // The own question, sent back.
    let question = spoilt(NO_INSTANCE, FLAGS, 1);
    assert_eq!(read_as(r#""nosuch.service.consul""#, &spoilt(&question, CODE, 0)), other);
}

#[test]
fn answer_that_ends_early_is_refused() {
    for end in 0..EIGHT.len() {
        assert!(read(&EIGHT[..end]).is_err(), "{end} bytes");
    }
}
