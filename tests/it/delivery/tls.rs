//! Certificates, good and bad, of an authority of the test's own.

use std::sync::Arc;

use quintile::delivery::{
    client::{Client, LIMITS},
    guard::Guard,
};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::{
    ServerConfig,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tokio_rustls::TlsAcceptor;
use tokio_util::task::AbortOnDropHandle;

use super::fixture::Shop;

/// The name under which the tool is called.
const HOST: &str = "tool.example";

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
}

impl Authority {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "the tests' authority");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let certificate = params.self_signed(&key).unwrap().der().clone();
        Self { issuer: Issuer::new(params, key), certificate }
    }
}

/// A tool with a certificate for `name` that ends in `year`; signed by itself without an authority.
async fn tool(authority: Option<&Authority>, name: &str, year: i32) -> (String, AbortOnDropHandle<()>) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new([name.to_owned()]).unwrap();
    params.not_after = rcgen::date_time_ymd(year, 1, 1);
    let certificate = match authority {
        Some(authority) => params.signed_by(&key, &authority.issuer).unwrap(),
        None => params.self_signed(&key).unwrap(),
    };
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::try_from(key.serialize_der()).unwrap())
        .unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{HOST}:{}/secret-path", listener.local_addr().unwrap().port());
    let server = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // A client that refuses the certificate ends the handshake.
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let _ = stream.read(&mut [0; 16 * 1024]).await;
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 0\r\n\r\n").await;
            let _ = stream.shutdown().await;
        }
    });
    (url, AbortOnDropHandle::new(server))
}

fn client(trusted: &[&[u8]]) -> Client {
    let local = Guard::new(&["127.0.0.0/8".to_owned()]).unwrap().with_names(|_| vec![[127, 0, 0, 1].into()]);
    Client::trusting(local, 4, LIMITS, trusted).unwrap()
}

#[tokio::test]
async fn a_bad_certificate_is_explained_and_tried_again() {
    let authority = Authority::new();
    let (own, theirs): (&[&[u8]], &[&[u8]]) = (&[&authority.certificate], &[]);
    for (name, tool, trusted, words) in [
        (
            "signed by itself",
            tool(None, HOST, 2100).await,
            own,
            "its certificate is signed by nobody this machine trusts",
        ),
        ("unknown authority", tool(Some(&authority), HOST, 2100).await, theirs, "its certificate is signed by nobody"),
        ("expired", tool(Some(&authority), HOST, 2020).await, own, "its certificate has expired"),
        (
            "another host",
            tool(Some(&authority), "other.example", 2100).await,
            own,
            "its certificate is for another name",
        ),
    ] {
        let (url, _server) = tool;
        let shop = Shop::sending_to(&url);
        shop.moves(&[1], "lost");
        let report = shop.deliver_with(&client(trusted)).await;
        assert_eq!((report.delivered, report.retrying), (0, 1), "{name}");
        let attempt = shop.attempts(1).remove(0);
        let error = attempt.error.unwrap();
        assert!(error.starts_with(&format!("no secure connection: {words}")), "{name}: {error}");
        assert!(attempt.status.is_none() && !error.contains("secret-path"), "{name}: {error}");
    }
}

#[tokio::test]
async fn a_good_certificate_is_accepted() {
    let authority = Authority::new();
    let (url, _server) = tool(Some(&authority), HOST, 2100).await;
    let shop = Shop::sending_to(&url);
    shop.moves(&[1], "lost");
    assert_eq!(shop.deliver_with(&client(&[&authority.certificate])).await.delivered, 1);
}
