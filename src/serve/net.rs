//! Addresses as etcd's flags have them, and connections over TCP, with TLS where the address says so.

use std::fmt;
use std::io;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::cert;

/// `http://host:port` or `https://host:port`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Url {
    /// Whether it is `https`.
    pub(crate) tls: bool,
    /// Host and port.
    pub(crate) authority: String,
}

impl Url {
    /// Parses one; blanks around it are those of a list.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let (tls, rest) = match text.split_once("://") {
            Some(("http", rest)) => (false, rest),
            Some(("https", rest)) => (true, rest),
            Some((scheme, _)) => return Err(format!("{text}: {scheme}:// is not served, only http:// and https://")),
            None => return Err(format!("{text}: a URL begins with http:// or https://")),
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest).to_owned();
        let port = authority.rsplit_once(':').map(|(host, port)| (host, port.parse::<u16>()));
        match port {
            Some((host, Ok(_))) if !host.is_empty() && !authority.contains('/') => Ok(Self { tls, authority }),
            _ => Err(format!("{text}: a URL is a host and a port, like http://10.0.0.1:2380")),
        }
    }

    fn host(&self) -> &str {
        self.authority.rsplit_once(':').map_or(&self.authority[..], |(host, _)| host)
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.tls { "https" } else { "http" }, self.authority)
    }
}

/// A connection, whichever.
pub(super) trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}

/// The name in the certificate of a client, when it has one.
pub(super) type Name = Option<Arc<str>>;

/// What is needed to speak TLS, on either side.
#[derive(Clone, Default)]
pub(super) struct Tls {
    pub(super) accept: Option<TlsAcceptor>,
    pub(super) connect: Option<TlsConnector>,
}

impl Tls {
    /// Connects to `url`.
    ///
    /// # Errors
    /// Nobody is there, or the other end is not trusted.
    pub(super) async fn connect(&self, url: &Url) -> io::Result<Box<dyn Connection>> {
        let tcp = TcpStream::connect(&url.authority).await?;
        tcp.set_nodelay(true)?;
        if !url.tls {
            return Ok(Box::new(tcp));
        }
        let connector = self.connect.as_ref().ok_or_else(|| io::Error::other("there is no certificate for https"))?;
        let host = rustls_pki_types::ServerName::try_from(url.host().trim_matches(['[', ']']).to_owned());
        let stream = connector.connect(host.map_err(io::Error::other)?, tcp).await?;
        Ok(Box::new(stream))
    }

    /// The same, with the common name in the certificate of the other end, where that is asked for one.
    ///
    /// # Errors
    /// As [`Tls::accepted`].
    pub(super) async fn accepted_from(&self, url: &Url, tcp: TcpStream) -> io::Result<(Box<dyn Connection>, Name)> {
        let acceptor = match &self.accept {
            Some(acceptor) if url.tls => acceptor,
            _ => return Ok((self.accepted(url, tcp).await?, None)),
        };
        tcp.set_nodelay(true)?;
        let stream = acceptor.accept(tcp).await?;
        let certificate = stream.get_ref().1.peer_certificates().and_then(<[_]>::first);
        let name = certificate.and_then(|certificate| cert::common_name(certificate)).map(Arc::from);
        Ok((Box::new(stream), name))
    }

    /// Goes on with a connection that was made to `url`.
    ///
    /// # Errors
    /// The other end does not speak TLS, or is not trusted.
    pub(super) async fn accepted(&self, url: &Url, tcp: TcpStream) -> io::Result<Box<dyn Connection>> {
        tcp.set_nodelay(true)?;
        match (&self.accept, url.tls) {
            (Some(acceptor), true) => Ok(Box::new(acceptor.accept(tcp).await?)),
            (None, true) => Err(io::Error::other("there is no certificate for https")),
            (_, false) => Ok(Box::new(tcp)),
        }
    }
}

/// Listens at `url`.
///
/// # Errors
/// Somebody else does, or the host is not here.
pub(super) async fn listen(url: &Url) -> io::Result<TcpListener> {
    TcpListener::bind(&url.authority).await
}

/// The files of `--cert-file`, `--key-file` and `--trusted-ca-file`, or of their `--peer-` siblings.
#[derive(Clone, Debug, Default)]
pub(crate) struct TlsFiles {
    pub(crate) cert: Option<std::path::PathBuf>,
    pub(crate) key: Option<std::path::PathBuf>,
    pub(crate) trusted_ca: Option<std::path::PathBuf>,
    pub(crate) client_cert_auth: bool,
}

impl TlsFiles {
    /// Reads them.
    ///
    /// # Errors
    /// Which cannot be read, or does not hold what it should.
    pub(super) fn load(&self) -> Result<Tls, String> {
        use rustls_pki_types::pem::PemObject as _;
        use rustls_pki_types::{CertificateDer, PrivateKeyDer};
        use tokio_rustls::rustls::server::WebPkiClientVerifier;
        use tokio_rustls::rustls::{ClientConfig, RootCertStore, ServerConfig};

        let provider = Arc::new(tokio_rustls::rustls::crypto::ring::default_provider());
        let (Some(cert), Some(key)) = (&self.cert, &self.key) else {
            return match (&self.cert, &self.key) {
                (None, None) => Ok(Tls::default()),
                _ => Err("a certificate and its key go together".into()),
            };
        };
        let certs = |path: &std::path::Path| -> Result<Vec<CertificateDer<'static>>, String> {
            let wrong = |error: &dyn fmt::Display| format!("{}: {error}", path.display());
            let found = CertificateDer::pem_file_iter(path).map_err(|error| wrong(&error))?;
            let found = found.collect::<Result<Vec<_>, _>>().map_err(|error| wrong(&error))?;
            if found.is_empty() {
                Err(wrong(&"there is no certificate in it"))
            } else {
                Ok(found)
            }
        };
        let secret = || PrivateKeyDer::from_pem_file(key).map_err(|error| format!("{}: {error}", key.display()));
        let chain = certs(cert)?;
        let mut roots = RootCertStore::empty();
        // Without a list of its own, a member trusts whoever has a certificate like its own.
        for root in certs(self.trusted_ca.as_deref().unwrap_or(cert))? {
            roots.add(root).map_err(|error| error.to_string())?;
        }
        let roots = Arc::new(roots);
        let wrong = |error: tokio_rustls::rustls::Error| format!("{}: {error}", cert.display());
        let server = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions();
        let server = server.map_err(wrong)?;
        let server = match self.client_cert_auth {
            true => {
                let verifier = WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone()).build();
                server.with_client_cert_verifier(verifier.map_err(|error| error.to_string())?)
            }
            false => server.with_no_client_auth(),
        };
        let mut server = server.with_single_cert(chain.clone(), secret()?).map_err(wrong)?;
        server.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let client = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let client = client.map_err(wrong)?.with_root_certificates(roots);
        let client = client.with_client_auth_cert(chain, secret()?).map_err(wrong)?;
        Ok(Tls { accept: Some(Arc::new(server).into()), connect: Some(Arc::new(client).into()) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_etcds() {
        let url = Url::parse("https://10.0.0.1:2380/").expect("a URL");
        assert_eq!((url.to_string(), url.host()), ("https://10.0.0.1:2380".to_owned(), "10.0.0.1"));
        assert_eq!(Url::parse("http://[::1]:2379").expect("a URL").host(), "[::1]");
        for wrong in [
            "",
            "localhost:2379",
            "unix://a:1",
            "http://a",
            "http://:1",
            "http://a:x",
            "http://a:1/b",
            "http://a:99999",
        ] {
            assert!(Url::parse(wrong).is_err(), "{wrong}");
        }
    }
}
