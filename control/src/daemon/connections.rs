//! What is cached: asked of the workers, answered when each has looked.

use super::Daemon;
use crate::api::list::{Pieces, told};
use crate::api::section::Connection;
use crate::api::unixctl::Answer;
use ovn_xdp_datapath::field::{self, Context};
use ovn_xdp_datapath::listing::{self, Origin};
use ovn_xdp_datapath::publish::Generation;
use serde_json::Value;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use tokio::sync::oneshot;
use uuid::Uuid;

/// Answers that wait for the workers to look.
#[derive(Debug, Default)]
pub struct Listings(Vec<Listing>);

#[derive(Debug)]
struct Listing {
    /// The question to each worker.
    questions: Vec<u64>,
    json: bool,
    answer: oneshot::Sender<Result<Answer, Value>>,
}

impl Daemon {
    /// Asks the workers.
    pub(super) fn list_connections(
        &mut self,
        json: bool,
        answer: oneshot::Sender<Result<Answer, Value>>,
    ) {
        let workers = &self.engine.ports.counters;
        let questions = workers.iter().map(|worker| worker.listing.ask()).collect();
        self.publisher.wake();
        self.listings.0.push(Listing { questions, json, answer });
    }

    /// Answers who asked, as far as the workers have.
    pub(super) fn settle_listings(&mut self) {
        for listing in std::mem::take(&mut self.listings.0) {
            let workers = self.engine.ports.counters.iter().zip(&listing.questions);
            let answers = workers.map(|(worker, question)| worker.listing.answer(*question));
            let Some(answers) = answers.collect::<Option<Vec<_>>>() else {
                self.listings.0.push(listing);
                continue;
            };
            let told = connections(listing.json, self.publisher.current(), answers);
            let _ = listing.answer.send(Ok(Answer::Pieces(told)));
        }
    }
}

/// What each worker listed.
fn connections(
    json: bool,
    generation: Arc<Generation>,
    answers: Vec<Vec<listing::Connection>>,
) -> Pieces {
    let answers = Arc::new(answers);
    told(json, move || {
        let (generation, answers) = (Arc::clone(&generation), Arc::clone(&answers));
        let places = answers.iter().enumerate();
        let places =
            places.flat_map(|(worker, listed)| (0..listed.len()).map(move |at| (worker, at)));
        let places: Vec<(usize, usize)> = places.collect();
        let one = move |(worker, at): (usize, usize)| {
            connection(&generation, worker, &answers[worker][at])
        };
        places.into_iter().map(one)
    })
}

fn connection(generation: &Generation, worker: usize, listed: &listing::Connection) -> Connection {
    let name = |id| generation.interfaces.get(id).map(|interface| interface.name.clone());
    let interfaces = listed.interfaces.iter().map(|id| name(*id).unwrap_or_default());
    let chassis = |id| generation.tunnels.get(id).map(|tunnel| tunnel.chassis.clone());
    let ports = matches!(protocol(&listed.fields), 6 | 17 | 132);
    let port = |slice| ports.then(|| listed.fields.get(slice) as u16);
    let (source, destination) = addresses(&listed.fields);
    Connection {
        worker,
        from: match listed.from {
            Origin::Interface(id) => name(id).unwrap_or_default(),
            Origin::Tunnel(key) => format!("tunnel, datapath {key}"),
        },
        protocol: protocol(&listed.fields),
        source,
        source_port: port(field::TP_SRC),
        destination,
        destination_port: port(field::TP_DST),
        to: interfaces.chain(listed.tunnels.iter().filter_map(chassis)).collect(),
        drop: listed.drop.map(|(reason, _)| reason.label()),
        flow: listed.drop.map(|(_, flow)| Uuid::from_u128(flow.0)),
        holds: listed.holds,
    }
}

fn protocol(fields: &Context) -> u8 {
    fields.get(field::IP_PROTO) as u8
}

/// IP addresses, or MAC addresses of what is no IP.
fn addresses(fields: &Context) -> (String, String) {
    let mac = |slice| {
        let octets = (fields.get(slice) as u64).to_be_bytes();
        octets[2..].iter().map(|octet| format!("{octet:02x}")).collect::<Vec<_>>().join(":")
    };
    match fields.get(field::ETH_TYPE) {
        0x0800 => {
            let address = |slice| Ipv4Addr::from(fields.get(slice) as u32).to_string();
            (address(field::IP4_SRC), address(field::IP4_DST))
        }
        0x86dd => {
            let address = |slice| Ipv6Addr::from(fields.get(slice)).to_string();
            (address(field::IP6_SRC), address(field::IP6_DST))
        }
        _ => (mac(field::ETH_SRC), mac(field::ETH_DST)),
    }
}
