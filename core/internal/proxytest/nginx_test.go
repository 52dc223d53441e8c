//go:build external && linux

package proxytest

import (
	"bufio"
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gridmux/gridmux/transport/devtls"
)

// server is what nginx has in front of one node.
type server struct {
	listener  *net.TCPListener // where nginx listens
	upstream  string           // where the node listens
	cert, key string           // names of files
}

// pageFile is the page that says how to do it.
const pageFile = "../../../docs/nginx.md"

// page returns the configuration of the page.
func page(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(pageFile)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(text), "\n```nginx\n")
	conf, _, closed := strings.Cut(rest, "\n```\n")
	if !ok || !closed {
		t.Fatalf("%s shows no configuration", pageFile)
	}
	return conf
}

// replaced is strings.ReplaceAll, but old has to be there.
func replaced(t *testing.T, s, old, replacement string) string {
	t.Helper()
	if !strings.Contains(s, old) {
		t.Fatalf("the configuration of %s has no %q", pageFile, old)
	}
	return strings.ReplaceAll(s, old, replacement)
}

// without returns the configuration less the lines that contain a word.
func without(t *testing.T, conf, word string) string {
	t.Helper()
	replaced(t, conf, word, "") // it is there
	var kept []string
	for line := range strings.Lines(conf) {
		if !strings.Contains(line, word) {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, "")
}

// startNginx runs nginx with the configuration of the page, once for each of two
// servers and changed by edit, until the end of the test. It returns when nginx serves.
func startNginx(t *testing.T, servers [2]server, edit func(string) string) {
	t.Helper()
	path, err := exec.LookPath("nginx")
	if err != nil {
		t.Fatalf("this test needs nginx, as in the Debian package nginx-light: %v", err)
	}
	dir := t.TempDir()
	var conf strings.Builder
	fmt.Fprintf(&conf, "daemon off;\nworker_processes 1;\npid %[1]s/pid;\nerror_log stderr notice;\nevents {}\nhttp {\naccess_log off;\n", dir)
	for _, kind := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		fmt.Fprintf(&conf, "%s_temp_path %s/%s;\n", kind, dir, kind)
	}
	var sockets []*os.File
	for _, s := range servers {
		socket, err := s.listener.File()
		if err != nil {
			t.Fatal(err)
		}
		defer socket.Close()
		sockets = append(sockets, socket)
		block := page(t)
		block = replaced(t, block, "listen 443 ssl;", "listen "+s.listener.Addr().String()+" ssl;")
		block = replaced(t, block, "/etc/nginx/tls/node.crt", s.cert)
		block = replaced(t, block, "/etc/nginx/tls/node.key", s.key)
		block = replaced(t, block, "127.0.0.1:7000", s.upstream)
		conf.WriteString(edit(block) + "\n")
	}
	conf.WriteString("}\n")
	name := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(name, []byte(conf.String()), 0o600); err != nil {
		t.Fatal(err)
	}

	cmd := exec.Command(path, "-p", dir, "-c", name, "-e", "stderr")
	// Open already, so that nobody takes the ports meanwhile: nginx adopts the
	// sockets that this variable names, as it does when it is replaced by a newer
	// one.
	cmd.ExtraFiles = sockets
	cmd.Env = append(os.Environ(), "NGINX=3;4;")
	// Not even a test that is killed leaves it behind.
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatalf("starting nginx: %v", err)
	}
	serving := make(chan error, 1)
	var output bytes.Buffer
	var reading sync.WaitGroup
	reading.Go(func() {
		lines := bufio.NewScanner(stderr)
		for lines.Scan() {
			output.WriteString(lines.Text() + "\n")
			// Its sockets listen before it starts a worker.
			if strings.Contains(lines.Text(), "start worker process ") {
				serving <- nil
				_, _ = io.Copy(&output, stderr)
				return
			}
		}
		serving <- fmt.Errorf("nginx ended:\n%s", output.String())
	})
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		reading.Wait()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("nginx said:\n%s", output.String())
		}
	})
	select {
	case err := <-serving:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(patience):
		t.Fatalf("nginx does not serve after %v", patience)
	}
}

// listen opens a port for nginx.
func listen(t *testing.T) *net.TCPListener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.(*net.TCPListener)
}

// authority issues certificates for one test.
type authority struct {
	*devtls.Authority
	dir  string
	pool *x509.CertPool
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	ca := devtls.New()
	return &authority{ca, t.TempDir(), ca.Config("").RootCAs}
}

// issue writes the certificate of a node and its key into files.
func (a *authority) issue(t *testing.T, node string) (certFile, keyFile string) {
	t.Helper()
	cert, err := a.Issue(node, nil)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	write := func(suffix, kind string, b []byte) string {
		name := filepath.Join(a.dir, node+suffix)
		if err := os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: b}), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	return write(".crt", "CERTIFICATE", cert.Certificate[0]), write(".key", "PRIVATE KEY", pkcs8)
}
