//! The answers of Consul to every call that rollgate makes.

use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use rollgate::consul::{
    Client, Entry, Extent, Index, Instance, SessionFence, SessionSettings, Settings, Write,
};
use rollgate::journal::{history, replica};
use rollgate::lock::{Process, look};
use rollgate::world::{Command, Host, HttpError, Output, Reply, Request, RunError, World};

use crate::damaged::{assert_printable, bytes, cases};
use crate::own_files::{HOLDER, JOURNAL};

const ANSWERS: [&str; 14] = [
    r#"[{"LockIndex":0,"Key":"rollgate/app/lock","Flags":0,"Value":"eyJkb3duIjoxfQ==","Session":"8b4e","CreateIndex":7,"ModifyIndex":9}]"#,
    r#"[{"Key":"upstreams/app/10.0.0.1:80","Value":null,"Flags":18446744073709551615,"ModifyIndex":1},{"Key":"upstreams/app/10.0.0.2:80","Value":"e30=","Flags":0,"ModifyIndex":2}]"#,
    r#"["rollgate/app/journal/20261121T133449Z-2ace9702/p000001","rollgate/app/journal/20261121T133449Z-2ace9702/p000002"]"#,
    r#"{"Results":[{"KV":{"LockIndex":0,"Key":"k","Flags":7,"Value":null,"CreateIndex":5,"ModifyIndex":6}}],"Errors":null}"#,
    r#"{"Results":null,"Errors":[{"OpIndex":1,"What":"failed to check session, index is stale"}]}"#,
    r#"{"Results":null,"Errors":[{"OpIndex":0,"What":"Permission denied"}]}"#,
    r#"[{"Node":{"Address":"10.0.0.1"},"Service":{"Address":"","Port":80},"Checks":[]}]"#,
    r#"[{"ID":"a","Node":"n1","Address":"10.0.0.1","ServiceID":"app-1","ServiceName":"app","ServiceAddress":"","ServicePort":80}]"#,
    r#"{"_service_maintenance:app-1":{"Node":"n1","CheckID":"_service_maintenance:app-1","Status":"critical","Notes":"rollgate: release 1","ServiceID":"app-1"}}"#,
    r#"{"ID":"adf4238a-882b-9ddc-4a9d-5b6758e4159e"}"#,
    "true",
    "\"10.0.0.5:8300\"",
    "Permission denied",
    "rpc error making call: No cluster leader",
];

/// Gives the same answer to everything.
struct Parrot(Reply);

impl World for Parrot {
    async fn http(&self, _: Request) -> Result<Reply, HttpError> {
        Ok(self.0.clone())
    }

    async fn run(&self, _: &Host, _: Command) -> Result<Output, RunError> {
        unreachable!("Consul runs no commands")
    }

    async fn exchange(&self, _: &str, _: &[u8], _: Duration) -> Result<Vec<u8>, HttpError> {
        unreachable!("the client opens no connections of its own")
    }

    fn now(&self) -> jiff::Timestamp {
        jiff::Timestamp::UNIX_EPOCH
    }
}

/// Makes every call to a Consul with this answer.
fn ask(reply: Reply) {
    let mut settings = Settings::from_environment(|_| None).expect("settings");
    settings.addresses = vec!["http://a".into()];
    let client = Client::new(Arc::new(Parrot(reply)), settings).with_patience(Duration::ZERO);
    let client = Arc::new(client);
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_time().start_paused(true).build();
    runtime.expect("a runtime").block_on(all(&client));
}

async fn all(client: &Arc<Client<Parrot>>) {
    fn told<T>(result: Result<T, impl std::fmt::Display>) -> Option<T> {
        // The caller joins the causes; each part is checked here.
        result.inspect_err(|error| assert_printable(&format!("{error:#}"))).ok()
    }
    let guard = SessionFence { key: "k".into(), session: "s".into() };
    let entry =
        Entry { key: "k".into(), value: b"{}".to_vec(), flags: 0, modify_index: 1, session: None };
    told(client.kv_get("k").await);
    told(client.kv_list("k").await);
    told(client.kv_keys("k").await);
    told(client.kv_may_write(&[&entry]).await);
    told(
        client.transact(Some(&guard), &[Write::CompareAndSet { entry: &entry, value: b"x" }]).await,
    );
    told(client.transact(None, &[Write::DeleteTree { prefix: "k" }]).await);
    let mut index = Index::default();
    for _ in 0..2 {
        let wait = Duration::from_secs(1);
        told(client.is_passing("app", "10.0.0.1:80", &mut index, wait).await);
    }
    let ten = Duration::from_secs(10);
    let settings = SessionSettings { name: "r".into(), ttl: ten, lock_delay: ten };
    told(client.session_create(&settings).await);
    told(client.session_renew("s").await);
    told(client.session_destroy("s").await);
    told(client.kv_acquire("k", "s", b"x").await);
    told(client.kv_release("k", "s", b"x").await);
    told(client.leader().await);
    told(client.instances("app").await);
    let instance = Instance {
        id: "app-1".into(),
        node: "agent-1".into(),
        node_address: "10.0.0.1".into(),
        address: "10.0.0.1:80".into(),
    };
    told(client.maintenance(&instance).await);
    told(client.removal("app-1").await);
    told(client.set_maintenance(Extent::Instance("app-1"), true, "rollgate: release 1").await);
    if let Some(Some(seen)) = told(look(client, "app").await)
        && let Some(holder) = seen.holder
    {
        assert_printable(&holder.describe(Process::Unknown, jiff::Timestamp::UNIX_EPOCH));
    }
    for kept in told(replica::list(client, "app").await).unwrap_or_default() {
        told(replica::read(client, "app", &kept).await);
    }
    let nowhere = std::path::Path::new("/nonexistent");
    told(history::find(nowhere, Some(client.as_ref()), "app", None, |_| true).await);
    let recent =
        history::recent(nowhere, Some(client.as_ref()), "app", 20, &["app-1"].into()).await;
    history::beginnings(nowhere, Some(client.as_ref()), "app", 20).await;
    for problem in recent.unread.problems.iter().chain(&recent.unread.unlisted) {
        assert_printable(problem);
    }
}

proptest! {
    #![proptest_config(cases(200))]

    #[test]
    fn any_answer_of_consul_is_read_or_refused(
        body in bytes(&ANSWERS),
        status in prop::sample::select(vec![200_u16, 200, 200, 403, 404, 409, 500, 0]),
        index in "[0-9]{0,25}|.{0,5}",
    ) {
        let headers = [("x-consul-index".to_owned(), index)].into();
        ask(Reply { status, headers, body: body.0, ..Reply::default() });
    }

}

proptest! {
    #![proptest_config(cases(100))]

    #[test]
    fn any_value_that_consul_keeps_is_read_or_refused(value in bytes(&[JOURNAL, HOLDER]), part in "[pz]") {
        use base64::Engine as _;
        let value = base64::prelude::BASE64_STANDARD.encode(value.0);
        let key = format!("rollgate/app/journal/1-a/{part}000001");
        let pair = serde_json::json!([{ "Key": key, "Value": value, "ModifyIndex": 1 }]);
        ask(Reply { status: 200, body: pair.to_string().into_bytes(), ..Reply::default() });
    }
}

#[test]
fn deep_and_long_answers_are_refused_quickly() {
    let begun = std::time::Instant::now();
    for text in ["[", "{\"Results\":", "\"", "[{\"Key\":\"", "9", " "] {
        let body = text.repeat((1 << 18) / text.len()).into_bytes();
        ask(Reply { status: 200, body, ..Reply::default() });
    }
    assert!(begun.elapsed().as_secs() < 30, "{:?}", begun.elapsed());
}
