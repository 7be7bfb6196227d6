//! nginx before several servers, as it comes but for a short memory.

use std::{net::TcpListener, process::Command};

use tempfile::TempDir;

use super::process::Process;

/// Where Debian has it, which is not on everyone's PATH.
const NGINX: &str = "/usr/sbin/nginx";

pub(crate) struct Nginx {
    process: Process,
    url: String,
    /// Its configuration and its files.
    _dir: TempDir,
}

// === impl Nginx ===

impl Nginx {
    /// Spreads requests over the servers at these addresses.
    pub(crate) async fn before(servers: &[&str]) -> Self {
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let address = free_address();
        std::fs::write(dir.path().join("nginx.conf"), config(&address, servers)).unwrap();
        let mut command = Command::new(NGINX);
        command.arg("-p").arg(dir.path()).args(["-c", "nginx.conf", "-e", "stderr"]);
        let process = Process::start("nginx (package nginx-light)", &mut command);
        // It names itself when it has bound its address.
        process.line("its name", |line| line.contains(": nginx/").then_some(())).await;
        Self { process, url: format!("http://{address}"), _dir: dir }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// How many requests for products it has answered, and how many answers it has had from this server.
    pub(crate) fn requests(&self, server: &str) -> [usize; 2] {
        let lines = self.process.lines();
        let answered = lines.iter().filter(|line| line.starts_with("answered /products/"));
        let by_server = answered.clone().filter(|line| line.ends_with(&format!(" {server}")));
        [answered.clone().count(), by_server.count()]
    }
}

/// A server that is not there is left alone for a second, instead of ten.
fn config(address: &str, servers: &[&str]) -> String {
    let servers: String = servers.iter().map(|server| format!("server {server} fail_timeout=1s; ")).collect();
    let files = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let files: String = files.map(|name| format!("{name}_temp_path {name};\n")).concat();
    format!(
        "daemon off; master_process off; pid nginx.pid; error_log stderr notice; events {{}}
         http {{
           {files}
           log_format answered 'answered $request_uri $status $upstream_addr';
           access_log /dev/stdout answered;
           upstream rails {{ {servers} }}
           server {{ listen {address}; location / {{ proxy_pass http://rails; }} }}
         }}"
    )
}

/// nginx takes no port 0.
fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}
