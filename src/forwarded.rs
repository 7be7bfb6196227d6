//! Where a call came from, as the proxies before the bridge tell (`X-Forwarded-For`).
//!
//! Each proxy adds the address that it was called from at the end. What stands before the addresses that trusted proxies have
//! added was written by the caller itself, who may write what it likes. So the number of those proxies has to be known; the
//! header is never believed beyond it, and other headers (`Client-Ip`, `X-Real-Ip`, `Forwarded`) are not believed at all.

use std::net::{IpAddr, SocketAddr};

use http::{HeaderMap, HeaderName, HeaderValue};

/// The header.
pub const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The addresses that a call has come by: first that of the caller as far as it is known, last that of who is connected.
///
/// `hops` is how many trusted proxies there are.
pub fn way(headers: &HeaderMap, peer: IpAddr, hops: usize) -> Vec<IpAddr> {
    let mut way = vec![peer.to_canonical()];
    let lines: Vec<_> = headers.get_all(X_FORWARDED_FOR).iter().collect();
    let told = lines.iter().rev().flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','));
    // The first that is no address ends it: whoever wrote that does not do what proxies do.
    way.extend(told.take(hops).map_while(address));
    way.reverse();
    way
}

/// The header that tells this way.
pub fn told(way: &[IpAddr]) -> HeaderValue {
    let addresses: Vec<_> = way.iter().map(IpAddr::to_string).collect();
    HeaderValue::try_from(addresses.join(", ")).expect("addresses are visible ASCII")
}

/// An address, perhaps with a port, as some proxies write it.
fn address(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text.trim_ascii()).ok()?;
    let inner = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let address = inner.parse().or_else(|_| text.parse().map(|address: SocketAddr| address.ip()));
    address.ok().map(|address: IpAddr| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn told_by(lines: &[&str], hops: usize) -> String {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(X_FORWARDED_FOR, HeaderValue::from_bytes(line.as_bytes()).unwrap());
        }
        told(&way(&headers, "10.0.0.9".parse().unwrap(), hops)).to_str().unwrap().to_owned()
    }

    #[test]
    fn only_what_trusted_proxies_have_added_is_believed() {
        let lines = ["6.6.6.6, 203.0.113.7, 10.0.0.1"];
        assert_eq!(told_by(&lines, 0), "10.0.0.9");
        assert_eq!(told_by(&lines, 1), "10.0.0.1, 10.0.0.9");
        assert_eq!(told_by(&lines, 2), "203.0.113.7, 10.0.0.1, 10.0.0.9");
        assert_eq!(told_by(&["6.6.6.6", " 203.0.113.7 ,10.0.0.1"], 2), "203.0.113.7, 10.0.0.1, 10.0.0.9");
        assert_eq!(told_by(&[], 3), "10.0.0.9");
    }

    #[test]
    fn what_is_no_address_ends_it() {
        for bad in ["unknown", "", "_hidden", "1.2.3.4.5", "a\u{e9}", "1.2.3.4:99999", "[::1"] {
            assert_eq!(told_by(&[&format!("6.6.6.6, {bad}, 10.0.0.1")], 3), "10.0.0.1, 10.0.0.9", "{bad}");
        }
    }

    #[test]
    fn addresses_may_have_a_port_and_ipv4_in_ipv6_is_ipv4() {
        let lines = ["[2001:db8::1]:443, 2001:db8::2, [2001:db8::3], 203.0.113.7:80, ::ffff:10.0.0.1"];
        let expected = "2001:db8::1, 2001:db8::2, 2001:db8::3, 203.0.113.7, 10.0.0.1, 10.0.0.9";
        assert_eq!(told_by(&lines, 9), expected);
    }

    proptest! {
        #[test]
        fn whatever_is_written_the_way_ends_with_the_peer_and_is_no_longer_than_trusted(
            line in "[0-9a-f.:,\\[\\] ]{0,60}", hops in 0..6_usize,
        ) {
            let headers = HeaderMap::from_iter([(X_FORWARDED_FOR, HeaderValue::try_from(line).unwrap())]);
            let way = way(&headers, "10.0.0.9".parse().unwrap(), hops);
            prop_assert!((1..=hops + 1).contains(&way.len()));
            prop_assert_eq!(way.last().unwrap().to_string(), "10.0.0.9");
        }
    }
}
