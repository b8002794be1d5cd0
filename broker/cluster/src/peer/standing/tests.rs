//! Who is let in, and who waits for the disk.

use std::sync::mpsc;

use super::*;

fn standing(node: u64, list: &[(u64, &str)]) -> (tempfile::TempDir, Standing) {
    let dir = tempfile::tempdir().expect("a directory");
    let mut options = ClusterOptions::new(dir.path(), node);
    let list = list.iter().map(|(node, at)| (*node, (*at).to_owned()));
    options.members = list.collect();
    let identity = IdentityFile::open(dir.path(), node, options.format_version_max, None);
    (dir, Standing::new(identity.expect("new"), &options))
}

fn reason(result: Result<Welcome, Refused>) -> String {
    result.expect_err("refused").reason
}

const LIST: &[(u64, &str)] = &[(1, "a:1"), (2, "b:2")];

#[test]
fn founders_agree_on_the_list_and_each_has_its_own_number() {
    let ((_one, one), (_two, two)) = (standing(1, LIST), standing(2, LIST));
    let welcome = two
        .admit(&one.hello(2, None, Purpose::Greeting))
        .expect("admitted");
    assert_eq!((welcome.node, welcome.cluster), (2, None));
    assert_eq!(two.all_heard().map(|all| all.len()), Some(2));
    let (_third, third) = standing(1, &[(1, "a:1"), (2, "c:2")]);
    let said = reason(two.admit(&third.hello(2, None, Purpose::Greeting)));
    assert!(
        said.contains("node 2 was told b:2, node 1 was told c:2"),
        "{said}"
    );
    let (_again, again) = standing(1, LIST);
    let said = reason(two.admit(&again.hello(2, None, Purpose::Greeting)));
    assert!(said.contains("two nodes are started as node 1"), "{said}");
    let (_same, same) = standing(2, LIST);
    let said = reason(two.admit(&same.hello(2, None, Purpose::Greeting)));
    assert!(said.contains("two nodes are started as node 2"), "{said}");
    let said = reason(two.admit(&one.hello(3, None, Purpose::Greeting)));
    assert!(said.contains("this is node 2, not node 3"), "{said}");
}

#[test]
fn a_cluster_lets_in_its_members_with_their_data_and_nobody_else() {
    let ((_one, one), (_two, two)) = (standing(1, LIST), standing(2, LIST));
    one.hear(2, two.incarnation).expect("heard");
    let founders = one.all_heard().expect("both");
    let cluster = ClusterId::of(&founders);
    one.join(cluster, founders.clone()).expect("joined");
    one.set_members(founders.clone());
    one.admit(&two.hello(1, None, Purpose::Control))
        .expect("a member");
    let (_lost, lost) = standing(2, LIST);
    let said = reason(one.admit(&lost.hello(1, None, Purpose::Control)));
    assert!(said.contains("its disk was replaced"), "{said}");
    let (_new, new) = standing(3, LIST);
    let said = reason(one.admit(&new.hello(1, None, Purpose::Greeting)));
    assert!(said.contains("cluster add 3="), "{said}");
    let hello = one.hello(2, Some(two.incarnation), Purpose::Control);
    assert!(lost.admit(&hello).is_err(), "known with other data");
    two.admit(&hello).expect("taken in");
    assert_eq!(*two.cluster().borrow(), Some(cluster));
    new.join(ClusterId::of(&BTreeMap::new()), BTreeMap::new())
        .expect("another");
    let said = reason(one.admit(&new.hello(1, None, Purpose::Control)));
    assert!(said.contains("of cluster"), "{said}");
}

/// A disk that hangs keeps the identity locked for as long. One worker, as on two cores: it must go on with everything else.
#[test]
fn who_writes_the_identity_down_keeps_nobody_waiting() {
    const SOON: Duration = Duration::from_secs(20);
    let (_dir, standing) = standing(1, &[]);
    let standing = Arc::new(standing);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .build()
        .expect("a runtime");
    let identity = lock(&standing.identity);

    let (tell, told) = mpsc::channel();
    let (writer, begun) = (Arc::clone(&standing), tell.clone());
    let written = runtime.spawn(async move {
        begun.send("it writes").expect("somebody listens");
        writer.record(FormatVersion::MAX)
    });
    assert_eq!(told.recv_timeout(SOON), Ok("it writes"));
    let asked = Arc::clone(&standing);
    runtime.spawn(async move {
        assert_eq!(asked.versions().recorded, FormatVersion::MIN);
        asked.set_version(FormatVersion::MIN).expect("known");
        tell.send("answered").expect("somebody listens");
    });
    assert_eq!(told.recv_timeout(SOON), Ok("answered"));
    assert!(!written.is_finished(), "its disk hangs");

    drop(identity);
    let written = runtime.block_on(written).expect("no panic");
    written.expect("written");
    assert_eq!(standing.versions().recorded, FormatVersion::MAX);
}
