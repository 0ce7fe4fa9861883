//! Objects in a bucket of S3 or of a store that speaks it.
//!
//! # Consistency
//!
//! One object is one PUT, with a checksum that the store verifies. `PutMode::Create` sends `If-None-Match: *`; whether
//! the store honours it is learnt from its answers and by [`Storage::probe`], for some ignore it and some refuse it. A
//! store that refuses it is asked by HEAD instead, which is not atomic.
//!
//! # Retries
//!
//! The SDK's own are off: one call is one try, and [`super::retrying`] decides.

mod client;
mod failure;
mod transport;

use std::fmt;
use std::ops::Range;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_s3::Client;
use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::operation::list_objects_v2::ListObjectsV2Output;
use aws_sdk_s3::primitives::{ByteStream, DateTime};
use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use jiff::Timestamp;

pub use self::client::{S3Credentials, S3Options};
use self::failure::{Request, says_nothing, status_and_code};
use crate::causes::in_one_line;
use crate::storage::{
    Capabilities, Error, Key, ObjectMeta, Operation, PutMode, PutOutcome, Result, Storage, Timeouts,
};

/// A repository in a bucket.
pub struct S3Storage {
    client: Client,
    bucket: String,
    /// Empty, or ends with `/`.
    prefix: String,
    /// For messages.
    place: String,
    timeout: Duration,
    conditional: Conditional,
}

impl fmt::Debug for S3Storage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Storage")
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}

/// What the store makes of `If-None-Match: *`, learnt from its answers.
#[derive(Debug, Default)]
struct Conditional(AtomicU8);

impl Conditional {
    const UNKNOWN: u8 = 0;
    const HONOURED: u8 = 1;
    const IGNORED: u8 = 2;
    const REFUSED: u8 = 3;

    fn learn(&self, state: u8) {
        self.0.store(state, Ordering::Relaxed);
    }

    fn is(&self, state: u8) -> bool {
        self.0.load(Ordering::Relaxed) == state
    }
}

impl S3Storage {
    /// Prepares a client for `s3://bucket/prefix`; makes no request to the store.
    pub async fn connect(
        bucket: &str,
        prefix: &str,
        options: &S3Options,
        timeouts: &Timeouts,
    ) -> Result<Self> {
        let (client, endpoint) = client::build(options, timeouts).await?;
        let prefix = match prefix.trim_matches('/') {
            "" => String::new(),
            prefix => format!("{prefix}/"),
        };
        let mut place = format!("s3://{bucket}/{prefix}");
        place.truncate(place.trim_end_matches('/').len());
        if let Some(endpoint) = endpoint {
            place = format!("{place} at {endpoint}");
        }
        let conditional = Conditional(AtomicU8::new(Conditional::UNKNOWN));
        Ok(Self {
            client,
            bucket: bucket.to_owned(),
            prefix,
            place,
            timeout: timeouts.request,
            conditional,
        })
    }

    fn request<'a>(&'a self, operation: Operation, key: &'a str) -> Request<'a> {
        Request {
            operation,
            key,
            place: &self.place,
            bucket: &self.bucket,
        }
    }

    fn name(&self, key: &Key) -> String {
        format!("{}{key}", self.prefix)
    }

    async fn put_once(&self, key: &Key, body: Bytes, mode: PutMode) -> Result<Option<PutOutcome>> {
        let mut call = self
            .client
            .put_object()
            .bucket(&self.bucket)
            .key(self.name(key))
            .body(ByteStream::from(body));
        if mode == PutMode::Create {
            call = call.if_none_match("*");
        }
        let Err(error) = call.content_type("application/octet-stream").send().await else {
            return Ok(Some(PutOutcome::Stored));
        };
        match status_and_code(&error) {
            (412, _) => {
                self.conditional.learn(Conditional::HONOURED);
                Ok(Some(PutOutcome::Exists))
            }
            (501, _) | (_, "NotImplemented") if mode == PutMode::Create => {
                self.conditional.learn(Conditional::REFUSED);
                Ok(None)
            }
            _ => Err(self.request(Operation::Put, key.as_str()).classify(&error)),
        }
    }

    /// Create-only as well as a store without conditions allows.
    async fn put_absent(&self, key: &Key, body: Bytes) -> Result<PutOutcome> {
        match self.head(key).await {
            Ok(_) => Ok(PutOutcome::Exists),
            Err(Error::NotFound(_)) => self
                .put_once(key, body, PutMode::Overwrite)
                .await
                .map(|outcome| outcome.unwrap_or(PutOutcome::Stored)),
            Err(error) => Err(error),
        }
    }

    async fn body(&self, key: &Key, range: Option<&Range<u64>>, answer: GetObjectOutput) -> Result<Bytes> {
        let request = self.request(Operation::Get, key.as_str());
        let whole = answer.content_range().is_none();
        let promised = answer.content_length().and_then(|len| u64::try_from(len).ok());
        super::check_get(key, promised.unwrap_or(0))?;
        let body = match tokio::time::timeout(self.timeout, answer.body.collect()).await {
            Ok(Ok(body)) => body.into_bytes(),
            Ok(Err(error)) => {
                return Err(request.unavailable(format!("the answer broke off: {}", in_one_line(&error))));
            }
            Err(_) => {
                return Err(request.unavailable(format!("the answer did not end within {:?}", self.timeout)));
            }
        };
        match promised {
            Some(promised) if promised != body.len() as u64 => {
                Err(request.unavailable(format!("{} of {promised} bytes came", body.len())))
            }
            // A store that does not know ranges sends everything.
            _ => Ok(range
                .filter(|_| whole)
                .map_or_else(|| body.clone(), |range| super::slice(&body, range))),
        }
    }

    /// A HEAD answer has no body and so no reason; a GET of one byte is refused for the same one, in words.
    async fn reason_by_get(&self, key: &Key, unexplained: Error) -> Error {
        let call = self
            .client
            .get_object()
            .bucket(&self.bucket)
            .key(self.name(key))
            .range("bytes=0-0");
        match call.send().await {
            Err(error) if status_and_code(&error).1 != "InvalidRange" => {
                self.request(Operation::Head, key.as_str()).classify(&error)
            }
            _ => unexplained,
        }
    }

    async fn page(&self, prefix: &str, cursor: &Cursor) -> Result<ListObjectsV2Output> {
        let mut call = self
            .client
            .list_objects_v2()
            .bucket(&self.bucket)
            .prefix(format!("{}{prefix}", self.prefix));
        match cursor {
            Cursor::After(after) => {
                call = call.set_start_after(after.as_ref().map(|after| self.name(after)));
            }
            Cursor::Token(token) => call = call.continuation_token(token),
        }
        let request = self.request(Operation::List, prefix);
        call.send().await.map_err(|error| request.classify(&error))
    }

    /// The objects of a page below our prefix; what can not be ours (a console's folder marks) is left out.
    fn objects(&self, request: &Request<'_>, page: &ListObjectsV2Output) -> Result<Vec<ObjectMeta>> {
        let ours = page.contents().iter().filter_map(|object| {
            let key = Key::new(object.key()?.strip_prefix(&self.prefix)?);
            key.is_well_formed().then_some((key, object))
        });
        ours.map(|(key, object)| {
            let size = object.size().and_then(|size| u64::try_from(size).ok());
            match (size, object.last_modified().and_then(timestamp)) {
                (Some(size), Some(modified)) => Ok(ObjectMeta { key, size, modified }),
                _ => Err(request.other(format!("the listing says no size or no time of {}", key.as_str()))),
            }
        })
        .collect()
    }
}

/// Where a listing goes on.
enum Cursor {
    After(Option<Key>),
    Token(String),
}

impl Cursor {
    /// Where the listing goes on behind a page; `None` behind the last.
    fn behind(request: &Request<'_>, page: &ListObjectsV2Output) -> Result<Option<Self>> {
        match (
            page.is_truncated().unwrap_or(false),
            page.next_continuation_token(),
        ) {
            (false, _) => Ok(None),
            (true, Some(token)) => Ok(Some(Self::Token(token.to_owned()))),
            (true, None) => Err(request.other("the listing breaks off and does not say where it goes on")),
        }
    }
}

#[async_trait]
impl Storage for S3Storage {
    fn location(&self) -> String {
        format!("s3://{}/{}", self.bucket, self.prefix)
            .trim_end_matches('/')
            .to_owned()
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            create_only: self.conditional.is(Conditional::HONOURED),
            own_clock: true,
        }
    }

    async fn put(&self, key: &Key, body: Bytes, mode: PutMode) -> Result<PutOutcome> {
        super::check_put(key, &body)?;
        let unconditional =
            self.conditional.is(Conditional::REFUSED) || self.conditional.is(Conditional::IGNORED);
        if mode == PutMode::Create && unconditional {
            return self.put_absent(key, body).await;
        }
        match self.put_once(key, body.clone(), mode).await? {
            Some(outcome) => Ok(outcome),
            None => self.put_absent(key, body).await,
        }
    }

    async fn get(&self, key: &Key, range: Option<Range<u64>>) -> Result<Bytes> {
        if range.as_ref().is_some_and(Range::is_empty) {
            return self.head(key).await.map(|_| Bytes::new());
        }
        let wanted = range
            .as_ref()
            .map(|range| format!("bytes={}-{}", range.start, range.end - 1));
        let call = self
            .client
            .get_object()
            .bucket(&self.bucket)
            .key(self.name(key))
            .set_range(wanted);
        match call.send().await {
            Ok(answer) => self.body(key, range.as_ref(), answer).await,
            Err(error) if matches!(status_and_code(&error), (416, _) | (_, "InvalidRange")) => {
                Ok(Bytes::new())
            }
            Err(error) => Err(self.request(Operation::Get, key.as_str()).classify(&error)),
        }
    }

    async fn head(&self, key: &Key) -> Result<ObjectMeta> {
        let request = self.request(Operation::Head, key.as_str());
        let call = self.client.head_object().bucket(&self.bucket).key(self.name(key));
        let answer = match call.send().await {
            Ok(answer) => answer,
            Err(error) if says_nothing(&error) => {
                return Err(self.reason_by_get(key, request.classify(&error)).await);
            }
            Err(error) => return Err(request.classify(&error)),
        };
        let size = answer.content_length().and_then(|len| u64::try_from(len).ok());
        match (size, answer.last_modified().and_then(timestamp)) {
            (Some(size), Some(modified)) => Ok(ObjectMeta {
                key: key.clone(),
                size,
                modified,
            }),
            _ => Err(request.other("the answer names no size or no time")),
        }
    }

    fn list_after(&self, prefix: &str, after: Option<&Key>) -> BoxStream<'_, Result<ObjectMeta>> {
        let prefix = prefix.to_owned();
        let start = Some((Cursor::After(after.cloned()), after.cloned()));
        stream::try_unfold(start, move |state| {
            let prefix = prefix.clone();
            async move {
                let Some((cursor, last)) = state else {
                    return Ok(None);
                };
                let page = self.page(&prefix, &cursor).await?;
                let request = self.request(Operation::List, &prefix);
                let objects = self.objects(&request, &page)?;
                let last = in_order(&request, last, &objects)?;
                let next = Cursor::behind(&request, &page)?.map(|cursor| (cursor, last));
                Ok(Some((stream::iter(objects.into_iter().map(Ok)), next)))
            }
        })
        .try_flatten()
        .boxed()
    }

    async fn delete(&self, key: &Key) -> Result<()> {
        let request = self.request(Operation::Delete, key.as_str());
        match self
            .client
            .delete_object()
            .bucket(&self.bucket)
            .key(self.name(key))
            .send()
            .await
        {
            Ok(_) => Ok(()),
            Err(error) => match request.classify(&error) {
                Error::NotFound(_) => Ok(()),
                error => Err(error),
            },
        }
    }

    async fn probe(&self, existing: &Key) -> Result<Capabilities> {
        let body = self.get(existing, None).await?;
        if self.put_once(existing, body, PutMode::Create).await? == Some(PutOutcome::Stored) {
            self.conditional.learn(Conditional::IGNORED);
        }
        Ok(self.capabilities())
    }
}

/// Merges above rest on the order of names, so a store that breaks it (some directory buckets) is refused.
fn in_order(request: &Request<'_>, last: Option<Key>, objects: &[ObjectMeta]) -> Result<Option<Key>> {
    let first = last
        .as_ref()
        .zip(objects.first())
        .is_none_or(|(last, first)| *last < first.key);
    if first && objects.is_sorted_by(|one, next| one.key < next.key) {
        return Ok(objects.last().map(|object| object.key.clone()).or(last));
    }
    Err(request.other("the store does not list names in order; use a general purpose bucket"))
}

fn timestamp(time: &DateTime) -> Option<Timestamp> {
    Timestamp::new(time.secs(), i32::try_from(time.subsec_nanos()).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use aws_sdk_s3::types::Object;

    use super::*;

    async fn storage() -> S3Storage {
        let options = S3Options {
            endpoint: Some("http://127.0.0.1:1".to_owned()),
            credentials: S3Credentials::Static {
                access_key: "key".to_owned(),
                secret_key: "secret".to_owned().into(),
                session_token: None,
            },
            ..S3Options::default()
        };
        S3Storage::connect("acme", "hosts", &options, &Timeouts::default())
            .await
            .unwrap()
    }

    #[tokio::test]
    async fn a_listing_names_all_that_is_ours_or_fails() {
        let storage = storage().await;
        let request = storage.request(Operation::List, "packs/");
        let sized = |key: &str| Object::builder().key(key).size(3);
        let dated = |key: &str| sized(key).last_modified(DateTime::from_secs(1)).build();
        let listed = |object| {
            let page = ListObjectsV2Output::builder();
            let page = page
                .contents(dated("hosts/packs/0a/one"))
                .contents(object)
                .build();
            storage.objects(&request, &page).map(|objects| objects.len())
        };
        assert_eq!(listed(dated("hosts/packs/0a/two")).unwrap(), 2);
        // A folder mark of a console.
        assert_eq!(listed(Object::builder().key("hosts/packs/").build()).unwrap(), 1);
        let unsized_ = Object::builder().key("hosts/packs/0a/two");
        for object in [
            sized("hosts/packs/0a/two").build(),
            unsized_.last_modified(DateTime::from_secs(1)).build(),
        ] {
            let error = listed(object).unwrap_err();
            assert!(error.to_string().contains("packs/0a/two"), "{error}");
        }
    }

    #[tokio::test]
    async fn a_listing_that_breaks_off_is_no_short_one() {
        let storage = storage().await;
        let request = storage.request(Operation::List, "packs/");
        let broken = || ListObjectsV2Output::builder().is_truncated(true);
        let next = |page| Cursor::behind(&request, &page);
        assert!(next(ListObjectsV2Output::builder().build()).unwrap().is_none());
        assert!(matches!(
            next(broken().next_continuation_token("on").build()).unwrap(),
            Some(Cursor::Token(token)) if token == "on"
        ));
        assert!(next(broken().build()).is_err());
    }
}
