use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use futures::stream::TryStreamExt;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Subscriber, field};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::{LookupSpan, Registry};

use super::*;
use crate::storage::conformance;
use crate::storage::faulty::{Fault, Faults, Faulty, Rule};
use crate::storage::memory::MemoryStorage;

#[tokio::test]
async fn conforms() {
    let store = Traced::new(Arc::new(MemoryStorage::new()));
    conformance::check(&store).await.unwrap();
}

#[tokio::test]
async fn requests_of_a_step_are_its_children_and_failures_are_marked() {
    let seen = Seen::default();
    let subscriber = Registry::default().with(seen.clone());
    let _default = tracing::subscriber::set_default(subscriber);
    let faults = Faults::none();
    let faulty = Faulty::new(Arc::new(MemoryStorage::new()), faults.clone());
    let store = Traced::new(Arc::new(faulty));
    let key = Key::new("packs/one");
    let body = Bytes::from_static(b"12345");
    store.put(&key, body, PutMode::Create).await.unwrap();
    assert!(seen.all().is_empty(), "outside of a step nothing is traced");

    let asked = async {
        store.get(&key, Some(1..3)).await.unwrap();
        assert!(store.get(&Key::new("packs/none"), None).await.is_err());
        store.list("packs/").try_collect::<Vec<_>>().await.unwrap();
        faults.add(Rule::default(), Fault::Before);
        assert!(store.head(&key).await.is_err());
    };
    asked.instrument(tracing::info_span!("restore")).await;
    let wanted = [
        ("storage get", "packs/one", false),
        ("storage get", "packs/none", false),
        ("storage list", "packs/", false),
        ("storage head", "packs/one", true),
    ];
    let requests = &seen.all()[1..];
    assert_eq!(requests.len(), wanted.len());
    for (request, (name, object, failed)) in requests.iter().zip(wanted) {
        assert_eq!(request["parent"], "restore");
        assert_eq!((&*request["otel.name"], &*request["object"]), (name, object));
        assert_eq!(
            request.contains_key("otel.status_code"),
            failed,
            "{name} {object}"
        );
    }
    assert_eq!(requests[0]["bytes"], "2");
}

type Fields = BTreeMap<String, String>;

/// The fields of each span in the order of their creation, with the name of its parent.
#[derive(Debug, Clone, Default)]
struct Seen(Arc<Mutex<Vec<(Id, Fields)>>>);

impl Seen {
    fn all(&self) -> Vec<Fields> {
        let spans = self.0.lock().unwrap();
        spans.iter().map(|(_, fields)| fields.clone()).collect()
    }
}

struct Into<'a>(&'a mut Fields);

impl Visit for Into<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.to_owned());
    }

    fn record_debug(&mut self, field: &field::Field, value: &dyn std::fmt::Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}"));
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Seen {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::new();
        attributes.record(&mut Into(&mut fields));
        if let Some(parent) = context.span(id).and_then(|span| span.parent()) {
            fields.insert("parent".to_owned(), parent.name().to_owned());
        }
        self.0.lock().unwrap().push((id.clone(), fields));
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, _: Context<'_, S>) {
        // Ids are used again once a span is closed: the last one of that id is meant.
        let mut spans = self.0.lock().unwrap();
        if let Some((_, fields)) = spans.iter_mut().rev().find(|(known, _)| known == id) {
            values.record(&mut Into(fields));
        }
    }
}
