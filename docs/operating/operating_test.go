package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/internal/memnet"
	"github.com/gridmux/gridmux/transport/devtls"
	"github.com/gridmux/gridmux/transport/websocket"
)

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	file := filepath.Join(dir, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// authority issues certificates as files.
type authority struct{ *devtls.Authority }

func newAuthority() authority { return authority{devtls.New()} }

// issue writes a certificate for both sides of TLS, valid for an hour, into a
// directory as a Secret of the type kubernetes.io/tls has it, and that of the
// authority together with those of others that are to be trusted.
func (a authority) issue(t *testing.T, dir string, names []string, others ...authority) {
	t.Helper()
	cert, err := a.Issue(names[0], func(c *x509.Certificate) {
		c.DNSNames = names
		c.NotAfter = time.Now().Add(time.Hour)
	})
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(cert.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	block := func(kind string, der []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
	}
	trusted := ""
	for _, ca := range append(others, a) {
		trusted += block("CERTIFICATE", ca.Certificate().Raw)
	}
	write(t, dir, "tls/ca.crt", trusted)
	write(t, dir, "tls/tls.key", block("PRIVATE KEY", key))
	write(t, dir, "tls/tls.crt", block("CERTIFICATE", cert.Certificate[0]))
}

// pods are nodes of the program on one network in memory, with virtual time.
type pods struct {
	t       *testing.T
	network memnet.Network
	running map[string]*pod
}

type pod struct {
	dir    string
	stop   context.CancelFunc
	ended  chan error
	probes *memnet.Listener
}

// start starts a pod with the files of a directory.
func (p *pods) start(name, dir string) {
	p.t.Helper()
	ws := websocket.New(websocket.Options{
		GetTLS:      func() (*tls.Config, error) { return nodeTLS(filepath.Join(dir, "tls")) },
		DialContext: p.network.DialContext,
		Listen: func(ctx context.Context, network, addr string) (net.Listener, error) {
			return p.network.ListenContext(ctx, network, name+".kv"+addr)
		},
	})
	ctx, stop := context.WithCancel(p.t.Context())
	pod := &pod{dir: dir, stop: stop, ended: make(chan error, 1), probes: memnet.Listen(name)}
	p.running[name] = pod
	go func() { pod.ended <- run(ctx, dir, name, ws, pod.probes, slog.New(slog.DiscardHandler)) }()
}

// end does what SIGTERM does.
func (p *pods) end(name string) {
	p.t.Helper()
	pod := p.running[name]
	delete(p.running, name)
	pod.stop()
	if err := <-pod.ended; err != nil {
		p.t.Errorf("%s ended with: %v", name, err)
	}
}

func (p *pods) endAll() {
	for name := range p.running {
		p.end(name)
	}
}

func (p *pods) probe(name, path string) string {
	p.t.Helper()
	client := http.Client{Transport: &http.Transport{DialContext: p.running[name].probes.DialContext, DisableKeepAlives: true}}
	req, err := http.NewRequestWithContext(p.t.Context(), http.MethodGet, "http://"+name+path, http.NoBody)
	if err != nil {
		p.t.Fatal(err)
	}
	resp, err := client.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		p.t.Fatalf("%s of %s: %s, %v", path, name, resp.Status, err)
	}
	return string(body)
}

// meshed holds that all that run are connected, and that no node has lost a
// connection without a word.
func (p *pods) meshed(when string) {
	p.t.Helper()
	for name := range p.running {
		figures := p.probe(name, "/metrics")
		for other := range p.running {
			if want := fmt.Sprintf("gridmux_peer_connected{peer=%q} 1\n", other); !strings.Contains(figures, want) {
				p.t.Errorf("%s: %s is not connected to %s", when, name, other)
			}
		}
		if why := p.probe(name, "/peers"); len(p.running) == 3 && why != "all peers are connected\n" {
			p.t.Errorf("%s: %s says of its peers: %s", when, name, why)
		}
		if !strings.Contains(figures, "gridmux_connections_lost_total 0\n") {
			p.t.Errorf("%s: %s has lost a connection", when, name)
		}
	}
}

// inBubble runs a test with three pods that are connected.
func inBubble(t *testing.T, f func(t *testing.T, p *pods, ca authority, names []string)) {
	t.Helper()
	root := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		p := &pods{t: t, running: map[string]*pod{}}
		ca := newAuthority()
		names := []string{"kv-0", "kv-1", "kv-2"}
		for i, name := range names {
			dir := filepath.Join(root, name)
			write(t, dir, "members/nodes", "3\n")
			write(t, dir, "keys/1", "the first key of the cluster")
			write(t, dir, "keys/..data", "is no key")
			ca.issue(t, dir, []string{name})
			p.start(name, dir)
			if i == 0 {
				time.Sleep(time.Minute)
				p.probe(name, "/healthz") // alone, and ready
				if why := p.probe(name, "/peers"); !strings.Contains(why, `"kv-2": not connected for 1m`) ||
					!strings.Contains(why, "kv-2.kv:7000): dial: ") {
					t.Errorf("%s says of its peers: %s", name, why)
				}
			}
		}
		defer p.endAll()
		time.Sleep(5 * time.Second)
		p.meshed("at first")
		f(t, p, ca, names)
	})
}

// TestRollingRestart holds that pods which are restarted one after the other, each
// by SIGTERM, are connected again within three seconds, and that nobody loses a
// connection without being told, with new certificates and after the old have
// expired too.
func TestRollingRestart(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pods, ca authority, names []string) {
		for _, renewed := range []bool{false, true} {
			if renewed {
				time.Sleep(50 * time.Minute)
				for _, name := range names {
					ca.issue(t, p.running[name].dir, []string{name})
				}
				time.Sleep(30 * time.Minute)
				p.meshed("beyond the end of the certificates that the connections began with")
			}
			for _, name := range names {
				dir := p.running[name].dir
				p.end(name)
				time.Sleep(2 * time.Second)
				p.start(name, dir)
				time.Sleep(3 * time.Second)
				p.meshed("after the restart of " + name)
			}
		}
	})
}

// TestAuthorityRotation holds that an authority is replaced by changes of the files
// alone: in three rounds, after each of which pods that are restarted, and so the
// only ones to make connections, find the others.
func TestAuthorityRotation(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pods, old authority, names []string) {
		next := newAuthority()
		for _, round := range []struct {
			name   string
			issuer authority
			others []authority
		}{
			{"both are trusted", old, []authority{next}},
			{"the new one issues", next, []authority{old}},
			{"the old one is trusted no more", next, nil},
		} {
			for _, name := range names {
				dir := p.running[name].dir
				round.issuer.issue(t, dir, []string{name}, round.others...)
				p.end(name) // while others have the files of before
				p.start(name, dir)
				time.Sleep(3 * time.Second)
				p.meshed(round.name + ", after the restart of " + name)
			}
		}
		old.issue(t, p.running["kv-0"].dir, []string{"kv-0"})
		dir := p.running["kv-0"].dir
		p.end("kv-0")
		p.start("kv-0", dir)
		time.Sleep(3 * time.Second)
		if why := p.probe("kv-1", "/peers"); !strings.Contains(why, `"kv-0": not connected`) {
			t.Errorf("a node with a certificate of the old authority is let in: %s", why)
		}
	})
}

// TestKeyRotation holds that a key is replaced in three rounds of restarts, with
// all nodes connected after every single one.
func TestKeyRotation(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pods, _ authority, names []string) {
		for round, keys := range []map[string]string{
			{"1": "the first key of the cluster", "2": "the second key of the cluster"},
			{"1": "the second key of the cluster", "2": "the first key of the cluster"},
			{"1": "the second key of the cluster"},
		} {
			for _, name := range names {
				dir := p.running[name].dir
				p.end(name)
				if err := os.RemoveAll(filepath.Join(dir, "keys")); err != nil {
					t.Fatal(err)
				}
				for file, key := range keys {
					write(t, dir, "keys/"+file, key)
				}
				p.start(name, dir)
				time.Sleep(3 * time.Second)
				p.meshed(fmt.Sprintf("round %d, after the restart of %s", round+1, name))
			}
		}
	})
}

// TestScaling holds that a node is added and taken away by the file of the
// members, whichever of the two, file or pod, comes first.
func TestScaling(t *testing.T) {
	inBubble(t, func(t *testing.T, p *pods, ca authority, names []string) {
		setMembers := func(n string) {
			for _, name := range names {
				write(t, p.running[name].dir, "members/nodes", n)
			}
		}
		dir := t.TempDir()
		write(t, dir, "members/nodes", "4")
		write(t, dir, "keys/1", "the first key of the cluster")
		ca.issue(t, dir, []string{"kv-3"})
		p.start("kv-3", dir)
		time.Sleep(time.Minute) // refused, as it is no member
		setMembers("4")
		time.Sleep(15 * time.Second)
		p.meshed("after one more")

		p.end("kv-3")
		time.Sleep(time.Minute)
		setMembers("3")
		time.Sleep(15 * time.Second)
		p.meshed("after one less")
		if figures := p.probe("kv-0", "/metrics"); strings.Contains(figures, "kv-3") {
			t.Error("the node that was taken away is in the figures")
		}
		setMembers("three")
		time.Sleep(15 * time.Second)
		p.meshed("with a file that cannot be read")
	})
}
