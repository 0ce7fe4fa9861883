//! Bounds on what a single address can take of what all share.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

/// Places that are taken, by where those who take them come from.
#[derive(Debug, Clone)]
pub(super) struct Places {
    most: usize,
    /// An entry goes with its last place: no more entries than there are places in all.
    taken: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

/// A place, given back when it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Places,
    origin: IpAddr,
}

impl Places {
    /// At most `most` of them for one address.
    pub(super) fn new(most: usize) -> Self {
        Self {
            most,
            taken: Arc::default(),
        }
    }

    /// A place for somebody at `address`; `None`: they have all that they may have.
    pub(super) fn take(&self, address: IpAddr) -> Option<Place> {
        let origin = origin(address);
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let count = taken.entry(origin).or_default();
        if *count >= self.most {
            return None;
        }
        *count += 1;
        Some(Place {
            places: self.clone(),
            origin,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = taken.get_mut(&self.origin) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.origin);
            }
        }
    }
}

/// What counts as one address: of IPv6 the network of 64 bits, which is what one customer has at least.
fn origin(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let network = u128::from(address) & !u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from(network))
        }
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_gets_its_share_and_leaves_the_rest_to_others() {
        let places = Places::new(2);
        let at = |text: &str| places.take(text.parse().unwrap());
        let (first, second) = (at("192.0.2.1").unwrap(), at("::ffff:192.0.2.1").unwrap());
        assert!(at("192.0.2.1").is_none());
        let _other = at("192.0.2.2").unwrap();
        drop(first);
        let _again = at("192.0.2.1").unwrap();
        drop(second);
        let _networks = (at("2001:db8::1").unwrap(), at("2001:db8::2").unwrap());
        assert!(at("2001:db8:0:0:ffff::3").is_none());
        let _neighbour = at("2001:db8:0:1::1").unwrap();
    }

    #[test]
    fn nothing_is_remembered_of_who_is_gone() {
        let places = Places::new(1);
        drop(places.take("192.0.2.1".parse().unwrap()));
        assert!(places.taken.lock().unwrap().is_empty());
    }
}
