//! Words of which made-up people are made. The mail hosts lie under domains reserved for examples
//! (RFC 2606): no mail to them arrives anywhere.

pub(super) const FIRST: [&str; 64] = [
    "Ada", "Alma", "Amir", "Anna", "Anton", "Aylin", "Ben", "Carla", "Clara", "Dana", "David", "Elena", "Elif", "Emil",
    "Emma", "Erik", "Eva", "Felix", "Finn", "Frida", "Greta", "Hanna", "Hugo", "Ida", "Igor", "Ines", "Iris", "Ivan",
    "Jan", "Jana", "Jonas", "Jule", "Karim", "Karla", "Lea", "Lena", "Leon", "Lina", "Linus", "Luca", "Luis", "Lukas",
    "Maja", "Mara", "Marek", "Maria", "Marta", "Mats", "Mia", "Mila", "Milan", "Nele", "Nina", "Noah", "Oskar", "Paul",
    "Paula", "Rosa", "Samir", "Sofia", "Theo", "Tilda", "Zoé", "Özlem",
];

pub(super) const LAST: [&str; 64] = [
    "Albrecht",
    "Andersen",
    "Bauer",
    "Becker",
    "Berger",
    "Bianchi",
    "Brandt",
    "Busch",
    "Costa",
    "Dietrich",
    "Dubois",
    "Eriksen",
    "Fischer",
    "Fontaine",
    "Frank",
    "Garcia",
    "Graf",
    "Haas",
    "Hansen",
    "Hartmann",
    "Horvat",
    "Huber",
    "Jansen",
    "Jensen",
    "Kaiser",
    "Keller",
    "Klein",
    "Koch",
    "Kowalski",
    "Kraus",
    "Krüger",
    "Lang",
    "Larsen",
    "Lorenz",
    "Maier",
    "Marino",
    "Martin",
    "Meyer",
    "Moreau",
    "Müller",
    "Nagy",
    "Nielsen",
    "Novak",
    "Otto",
    "Peters",
    "Petit",
    "Popescu",
    "Richter",
    "Rossi",
    "Roth",
    "Schmidt",
    "Schneider",
    "Schreiber",
    "Schulz",
    "Seidel",
    "Silva",
    "Simon",
    "Sommer",
    "Torres",
    "Vogel",
    "Wagner",
    "Weber",
    "Yılmaz",
    "Zimmer",
];

pub(super) const MAIL_HOSTS: [&str; 5] =
    ["mail.example.com", "post.example.net", "inbox.example.org", "web.example.com", "letters.example.org"];

/// A name as it stands in an e-mail address.
pub(super) fn ascii(name: &str) -> String {
    let mut plain = String::with_capacity(name.len());
    for letter in name.chars().flat_map(char::to_lowercase) {
        match letter {
            'ü' => plain.push_str("ue"),
            'ö' => plain.push_str("oe"),
            'é' => plain.push('e'),
            'ı' => plain.push('i'),
            letter if letter.is_ascii_alphanumeric() => plain.push(letter),
            _ => {}
        }
    }
    plain
}
