use super::*;
use crate::job::Location;
use crate::tree::{FileStat, Listed};
use std::ops::Range;

#[derive(Default)]
struct Files(BTreeMap<String, Bytes>);

#[async_trait::async_trait]
impl FileTree for Files {
    async fn stat(&self, path: &str) -> Result<Option<FileStat>, TreeError> {
        Ok(self.0.get(path).map(|b| FileStat {
            len: b.len() as u64,
            etag: "e".into(),
        }))
    }

    async fn list(&self, prefix: &str, after: Option<&str>, limit: usize) -> Result<Vec<Listed>, TreeError> {
        let found = self
            .0
            .iter()
            .filter(|(p, _)| p.starts_with(prefix) && after.is_none_or(|a| p.as_str() > a));
        let listed = found.map(|(p, b)| Listed {
            path: p.clone(),
            len: b.len() as u64,
            etag: "e".into(),
        });
        Ok(listed.take(limit).collect())
    }

    async fn read(&self, path: &str, range: Range<u64>) -> Result<Bytes, TreeError> {
        match path {
            "bad" => Err(TreeError::Damaged("chunk 7 does not match".into())),
            "away" => Err(TreeError::Unavailable("503".into())),
            "slow" => std::future::pending().await,
            "short" => Ok(Bytes::from_static(b"x")),
            _ => {
                let bytes = self.0.get(path).ok_or(TreeError::NotFound)?;
                Ok(bytes.slice(range.start as usize..range.end as usize))
            }
        }
    }
}

fn files(count: usize) -> Arc<dyn FileTree> {
    let file = |n| (format!("data/{n:06}"), Bytes::from(vec![n as u8; n % 50]));
    let mut files = Files((0..count).map(file).collect());
    files
        .0
        .insert("large".into(), vec![7u8; (frame::MAX_READ + 5) as usize].into());
    Arc::new(files)
}

fn job() -> Job {
    Job::open(Location::Tree { origin: None })
}

#[cfg(feature = "client")]
mod with_client {
    use super::*;
    use crate::client::{self, TreeClient};

    async fn pair(
        tree: Arc<dyn FileTree>,
        options: Options,
    ) -> (TreeClient, tokio::task::JoinHandle<(Served, Result<(), Error>)>) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let serving =
            tokio::spawn(
                async move { serve(ours, &job(), Some(tree), options, &CancellationToken::new()).await },
            );
        let (got, client) = accept(theirs).await;
        assert_eq!(got, job());
        (client, serving)
    }

    /// Takes the job, and asks over the socket from then on.
    async fn accept(mut socket: UnixStream) -> (Job, TreeClient) {
        let job = client::receive(&mut socket).await.unwrap();
        (job, TreeClient::new(socket))
    }

    #[tokio::test]
    async fn reads_lists_and_stats_come_back() {
        let (client, serving) = pair(files(10_000), Options::default()).await;
        assert_eq!(client.stat("data/000049").await.unwrap(), (49, "e".into()));
        assert_eq!(
            client.read("large", 0..frame::MAX_READ + 5).await.unwrap().len() as u64,
            frame::MAX_READ + 5
        );
        let mut all = Vec::new();
        let mut after = String::new();
        loop {
            let (entries, more) = client.list("data/", &after).await.unwrap();
            after = entries.last().unwrap().path.clone();
            all.extend(entries);
            if !more {
                break;
            }
        }
        assert_eq!(all.len(), 10_000);
        drop(client);
        let (served, result) = serving.await.unwrap();
        result.unwrap();
        assert_eq!(served.bytes, frame::MAX_READ + 5);
    }

    #[tokio::test]
    async fn refusals_keep_their_kind_and_damage_is_remembered() {
        let options = Options {
            request_timeout: Duration::from_millis(50),
            ..Options::default()
        };
        let (client, serving) = pair(files(1), options).await;
        assert!(matches!(
            client.read("none", 0..1).await,
            Err(client::Error::NotFound { .. })
        ));
        assert!(matches!(
            client.read("away", 0..1).await,
            Err(client::Error::Unavailable { .. })
        ));
        assert!(matches!(
            client.read("slow", 0..1).await,
            Err(client::Error::Unavailable { .. })
        ));
        for _ in 0..3 {
            assert!(matches!(
                client.read("bad", 0..1).await,
                Err(client::Error::Damaged { .. })
            ));
        }
        assert!(matches!(
            client.read("short", 0..2).await,
            Err(client::Error::Damaged { .. })
        ));
        assert_eq!(client.memo().damaged.keys().collect::<Vec<_>>(), ["bad", "short"]);
        drop(client);
        let (served, _) = serving.await.unwrap();
        assert_eq!(served.requests, 5);
        assert_eq!(served.damaged.len(), 2);
        assert_eq!(served.unavailable.unwrap().0, "away");
    }

    #[tokio::test]
    async fn many_requests_at_once_are_all_answered() {
        let (client, _serving) = pair(
            files(500),
            Options {
                in_flight: 3,
                ..Options::default()
            },
        )
        .await;
        let client = Arc::new(client);
        let mut asked = JoinSet::new();
        for n in (1..500u64).filter(|n| n % 50 != 0) {
            let client = Arc::clone(&client);
            asked.spawn(async move {
                client
                    .read(&format!("data/{n:06}"), 0..n % 50)
                    .await
                    .map(|b| (n, b))
            });
        }
        while let Some(done) = asked.join_next().await {
            let (n, bytes) = done.unwrap().unwrap();
            assert!(bytes.iter().all(|b| *b == n as u8));
        }
    }

    #[tokio::test]
    async fn a_client_whose_agent_dies_fails_every_question() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let cancel = CancellationToken::new();
        let stop = cancel.clone();
        let job = job();
        let serving = serve(ours, &job, Some(files(1)), Options::default(), &stop);
        let asking = async {
            let (_, client) = accept(theirs).await;
            cancel.cancel();
            let answer = client.read("slow", 0..1).await;
            client.closed().await;
            answer
        };
        let ((_, result), answer) = tokio::join!(serving, asking);
        assert!(matches!(result, Err(Error::Cancelled)));
        assert!(matches!(answer, Err(client::Error::Gone(_))));
    }
}

#[tokio::test]
async fn a_probe_that_talks_nonsense_is_cut_off() {
    for nonsense in [&[0xff; 64][..], &[9, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0x77][..]] {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let (mut reading, mut writing) = theirs.into_split();
        let job = job();
        let cancel = CancellationToken::new();
        let serving = serve(ours, &job, Some(files(1)), Options::default(), &cancel);
        let talking = async {
            writing.write_all(nonsense).await.unwrap();
            let mut all = Vec::new();
            let _ = reading.read_to_end(&mut all).await;
        };
        let ((_, result), ()) = tokio::join!(serving, talking);
        assert!(matches!(result, Err(Error::Protocol(_))), "{result:?}");
    }
}

#[tokio::test]
async fn a_probe_that_reads_nothing_is_given_up() {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let (_reading, mut writing) = theirs.into_split();
    let job = job();
    let cancel = CancellationToken::new();
    let options = Options {
        write_timeout: Duration::from_millis(50),
        ..Options::default()
    };
    let serving = serve(ours, &job, Some(files(1)), options, &cancel);
    let asking = async {
        for id in 0..200 {
            let request = Request::Read {
                path: "large".into(),
                start: 0,
                end: frame::MAX_READ,
            };
            if writing.write_all(&request.encode(id)).await.is_err() {
                break;
            }
        }
        std::future::pending::<()>().await;
    };
    let result = tokio::select! { (_, result) = serving => result, () = asking => unreachable!() };
    assert!(matches!(result, Err(Error::Stalled(_))), "{result:?}");
}
