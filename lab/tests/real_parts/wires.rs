//! Wires that can be cut.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use rollgate_lab::{GatewayConfig, Lab, LabConfig};

/// Connects to a part over its wire.
fn connect(address: Ipv4Addr, port: u16) -> std::io::Result<TcpStream> {
    let [_, _, slot, host] = address.octets();
    let stream = TcpStream::connect_timeout(
        &(Ipv4Addr::new(127, 78, slot, host), port).into(),
        Duration::from_millis(500),
    )?;
    stream.set_read_timeout(Some(Duration::from_millis(500)))?;
    Ok(stream)
}

#[test]
fn cut_wire_is_silent_and_delivers_pending_bytes_when_restored() {
    let config = LabConfig { wired: true, ..LabConfig::new(1, vec![GatewayConfig::immediate(1)]) };
    let lab = Lab::start(config).unwrap();
    let gateway = lab.gateways[0].ip();
    let mut open = connect(gateway, 8000).unwrap();
    lab.cut(&[gateway]).unwrap();
    let ask = |stream: &mut TcpStream| stream.write_all(b"GET /ping HTTP/1.0\r\n\r\n");
    let mut reply = [0; 12];
    ask(&mut open).unwrap();
    assert!(open.read(&mut reply).is_err(), "nothing comes through");
    // The kernel may still accept a connection while the wire is being cut; it gets no answer.
    if let Ok(mut stream) = connect(gateway, 8000) {
        ask(&mut stream).unwrap();
        assert!(stream.read(&mut reply).is_err(), "nobody answers");
    }
    assert!(connect(gateway, 8000).is_err(), "not even the kernel answers");
    let mut other = connect(lab.nodes[0].ip(), 9000).expect("other wires are whole");
    ask(&mut other).unwrap();
    other.read_exact(&mut reply).unwrap();
    lab.mend(&[gateway]).unwrap();
    open.read_exact(&mut reply).unwrap();
    assert_eq!(&reply, b"HTTP/1.1 200");
    ask(&mut connect(gateway, 8000).unwrap()).unwrap();
}

#[test]
fn wire_refuses_connections_exactly_while_its_service_is_down() {
    let lab = Lab::start(LabConfig { wired: true, ..LabConfig::new(1, Vec::new()) }).unwrap();
    let node = &lab.nodes[0];
    let limit = Duration::from_secs(5);
    assert!(node.exec("/srv/app/ctl stop").unwrap().status.success());
    let refused = rollgate_lab::until("a refusal", limit, || {
        let error = connect(node.ip(), 9000).err();
        Ok(error.filter(|error| error.kind() == std::io::ErrorKind::ConnectionRefused))
    });
    refused.unwrap();
    lab.cut(&[node.ip()]).unwrap();
    let silent = rollgate_lab::until("silence", limit, || {
        let error = connect(node.ip(), 9000).err();
        Ok(error.filter(|error| error.kind() == std::io::ErrorKind::TimedOut))
    });
    silent.unwrap();
    lab.mend(&[node.ip()]).unwrap();
    assert!(node.exec("/srv/app/ctl start").unwrap().status.success());
    let back = rollgate_lab::until("a connection", limit, || Ok(connect(node.ip(), 9000).ok()));
    back.unwrap();
}

#[test]
fn leftover_processes_of_a_command_are_found() {
    let lab = Lab::start(LabConfig::new(1, Vec::new())).unwrap();
    assert_eq!(lab.leftovers().unwrap(), [""; 0]);
    let mut here = lab.command("sleep".as_ref()).arg("60").spawn().unwrap();
    let there = lab.nodes[0].exec("sh -c 'sleep 60; /srv/app/ctl stop' >/dev/null 2>&1 &");
    assert!(there.is_ok());
    let left = rollgate_lab::until("both to run", Duration::from_secs(5), || {
        let left = lab.leftovers()?;
        Ok((left.len() == 2).then_some(left))
    });
    here.kill().unwrap();
    here.wait().unwrap();
    let left = left.unwrap();
    assert!(left[0] == "sleep 60" && left[1].starts_with("node-1: "), "{left:?}");
}
