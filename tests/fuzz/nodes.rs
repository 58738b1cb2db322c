//! Reports of nodes: their tools and disks, their listeners, their connections.

use std::time::Duration;

use proptest::prelude::*;
use rollgate::health::identity_of;
use rollgate::node::{Connection, Listener, Survey, in_flight};
use rollgate::spec::IdentityPlace;
use rollgate::world::Reply;

use crate::damaged::{assert_printable, bytes, cases, text};

const TOLD: [&str; 4] = [
    "tool=ss\ntool=tar\ntool=gzip\ntool=sha256sum\nwritable=yes\nfree_kib=51474912\n\
     current=/srv/app/releases/app-1-e78ced7c\ncurrent_age=3600\nstaged=yes\n",
    "mark=500025\nlisten=LISTEN 0 511 10.0.0.1:9000 0.0.0.0:* users:((\"app\",pid=22,fd=9),(\"app\",pid=23,fd=9))\n\
     listen=LISTEN 0 511 [::]:9000 *:* users:((\"systemd\",pid=1,fd=9))\n\
     process=1 2 /sbin/init\nprocess=22 499000 /srv/app --listen\nprocess=23 500020 /srv/app worker\n",
    "listen=LISTEN 0 511 127.0.0.1:8080 0.0.0.0:*\n0      0      127.0.0.1:8080   127.0.0.1:40312\n\t cubic \
     wscale:7,7 rto:204 bytes_sent:185 bytes_acked:185 bytes_received:77 lastsnd:1240 lastrcv:12 lastack:4\n\
     0      0      [::ffff:127.0.0.2]:8080   [::ffff:127.0.0.1]:40313\n\t cubic lastsnd:9000 lastrcv:9000\n",
    "{\"version\":\"2.7.1\",\"build\":{\"number\":12}}",
];

proptest! {
    #![proptest_config(cases(2000))]

    #[test]
    fn any_answer_of_a_node_is_read_or_refused(text in text(&TOLD), host in r"(10\.0\.0\.1|\[::1\]|[a-z]{0,3}):?[0-9]{0,4}") {
        let survey = Survey::parse(&text, &host);
        for shown in [&survey.current].into_iter().flatten() {
            assert_printable(&shown.shown());
            for taken in [shown.checked(None).ok(), shown.file_name().and_then(Result::ok)] {
                let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._@+-".contains(&byte);
                prop_assert!(taken.is_none_or(|taken| taken.bytes().all(plain)));
            }
        }
        let listener = Listener::parse(&text, &host);
        for process in &listener.owners {
            assert_printable(&process.command);
            prop_assert!(process.pid != 1);
            let _ = rollgate::text::duration(process.age(listener.mark));
        }
        match Connection::parse(&text, &host) {
            Ok(connections) => {
                let count = in_flight(&connections, Duration::from_millis(200)).count();
                prop_assert!(count <= connections.len());
            }
            Err(error) => assert_printable(&error),
        }
    }

    #[test]
    fn any_reply_yields_a_version_or_none(body in bytes(&TOLD)) {
        let reply = Reply { status: 200, body: body.0, ..Reply::default() };
        for pointer in ["", "/version", "/build/number", "no pointer"] {
            let _ = identity_of(&IdentityPlace::Pointer(pointer.into()), &reply);
        }
    }
}
