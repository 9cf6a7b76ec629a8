//! Ids of events and messages: 16 bytes shaped like a UUID v7, shown like a ULID.

use crate::model::Timestamp;

/// Random bits below the milliseconds: 12 of `rand_a`, 62 of `rand_b`.
const RANDOM_BITS: u32 = 74;

/// Makes the ids of one instant, each larger than the one before.
#[derive(Debug, Clone)]
pub struct Ids {
    /// Milliseconds and random bits in one number, version and variant left out; counting it up
    /// carries into the milliseconds by itself.
    value: u128,
}

impl Ids {
    /// `seed`: 74 random bits are taken from it, so that two runs of one millisecond differ.
    #[must_use]
    pub fn new(at: Timestamp, seed: u128) -> Self {
        // 48 bits, as in the format: enough until the year 10889.
        let millis = u128::from(at.millis().max(0).unsigned_abs()) & 0xffff_ffff_ffff;
        Self { value: (millis << RANDOM_BITS) | (seed & ((1 << RANDOM_BITS) - 1)) }
    }

    /// [`Self::new`] with a seed from the operating system.
    #[must_use]
    pub fn random(at: Timestamp) -> Self {
        Self::new(at, random_bits())
    }

    /// The next id.
    pub const fn next(&mut self) -> [u8; 16] {
        self.value += 1;
        let millis = self.value >> RANDOM_BITS;
        let rand_a = (self.value >> 62) & 0xfff;
        let rand_b = self.value & ((1 << 62) - 1);
        ((millis << 80) | (7 << 76) | (rand_a << 64) | (0b10 << 62) | rand_b).to_be_bytes()
    }
}

/// 74 bits of which the operating system chose each.
fn random_bits() -> u128 {
    let uuid = uuid::Uuid::new_v4().as_u128();
    // A v4 has 48 free bits on top and 62 at the bottom; version and variant stand between them.
    ((uuid >> 80) << 62) | (uuid & ((1 << 62) - 1))
}

/// `evt_` and the ULID text of the id.
#[must_use]
pub fn evt_id(id: &[u8; 16]) -> String {
    prefixed("evt_", id)
}

/// `msg_` and the ULID text of the id.
#[must_use]
pub fn msg_id(id: &[u8; 16]) -> String {
    prefixed("msg_", id)
}

/// 26 characters of Crockford's base 32: 130 bits, the first two of them zero.
fn prefixed(prefix: &str, id: &[u8; 16]) -> String {
    const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    let value = u128::from_be_bytes(*id);
    let digit = |place: u32| char::from(ALPHABET[((value >> (place * 5)) & 31) as usize]);
    prefix.chars().chain((0..26).rev().map(digit)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_id_is_a_uuid_v7_of_its_instant() {
        let at = Timestamp::parse_rfc3339("2026-11-23T02:00:04.120Z").unwrap();
        let id = uuid::Uuid::from_bytes(Ids::new(at, 0x1234_5678).next());
        assert_eq!(id.get_version_num(), 7);
        assert_eq!(id.get_variant(), uuid::Variant::RFC4122);
        let (seconds, nanos) = id.get_timestamp().unwrap().to_unix();
        assert_eq!(seconds * 1000 + u64::from(nanos) / 1_000_000, u64::try_from(at.millis()).unwrap());
    }

    #[test]
    fn the_text_is_that_of_the_ulid_specification() {
        let id = 0x0156_3e3a_b5d3_d676_4c61_efb9_9302_bd5b_u128.to_be_bytes();
        assert_eq!(evt_id(&id), "evt_01ARZ3NDEKTSV4RRFFQ69G5FAV");
        assert_eq!(msg_id(&[0xff; 16]), "msg_7ZZZZZZZZZZZZZZZZZZZZZZZZZ");
    }

    proptest! {
        #[test]
        fn ids_increase_also_when_the_random_bits_overflow(millis in 0i64..1 << 47, seed: u128, high: bool) {
            let seed = if high { seed | (((1 << RANDOM_BITS) - 1) ^ 7) } else { seed };
            let mut ids = Ids::new(Timestamp::from_millis(millis), seed);
            let mut last = ids.next();
            for _ in 0..20 {
                let next = ids.next();
                prop_assert!(next > last);
                prop_assert!(evt_id(&next) > evt_id(&last));
                prop_assert_eq!(uuid::Uuid::from_bytes(next).get_version_num(), 7);
                last = next;
            }
        }
    }
}
