package fallback_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/transport/inmem"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/internal/lab"
	"github.com/gridmux/gridmux/transport"
)

// TestStartJudgesTheWeakest starts nodes with two transports of every kind. Of
// the two the one counts that lets more people in or see more: who blocks the
// better one must not win anything by it.
func TestStartJudgesTheWeakest(t *testing.T) {
	var (
		local  = transport.ListenerInfo{Local: true}
		plain  = transport.ListenerInfo{}
		tls    = transport.ListenerInfo{TLS: true}
		mutual = transport.ListenerInfo{TLS: true, MutualTLS: true}

		bare     = func(*core.Config) {}
		auth     = func(cfg *core.Config) { cfg.Auth = core.SharedKey([]byte("0123456789abcdef0123456789abcdef")) }
		insecure = func(cfg *core.Config) { cfg.AllowInsecure = true }
		proxy    = func(cfg *core.Config) {
			auth(cfg)
			cfg.AllowTLSProxy = true
		}
	)
	const (
		anybody = "would believe anybody"
		falls   = "would let whoever blocks another transport read everything"
		lesser  = "would let whoever blocks another transport connect without a certificate"
	)
	for _, test := range []struct {
		name          string
		udp, tcp      transport.ListenerInfo
		set           func(*core.Config)
		first, second string // the error with the two in either order; "": none
	}{
		{"both mutual TLS", mutual, mutual, bare, "", ""},
		{"mutual TLS and local", mutual, local, bare, "", ""},
		{"mutual TLS and plain", mutual, plain, bare, "transport 2 of 2 " + anybody, "transport 1 of 2 " + anybody},
		{"mutual TLS and TLS", mutual, tls, bare, "transport 2 of 2 " + anybody, "transport 1 of 2 " + anybody},
		{"local and plain", local, plain, bare, "transport 2 of 2 " + anybody, "transport 1 of 2 " + anybody},
		{"both plain, proofs", plain, plain, auth, "", ""},
		{"both TLS, proofs", tls, tls, auth, "", ""},
		{"mutual TLS and TLS, proofs", mutual, tls, auth, "transport 2 of 2 " + lesser, "transport 1 of 2 " + lesser},
		{"mutual TLS and TLS behind a proxy, proofs", mutual, tls, proxy, "", ""},
		{"mutual TLS and TLS, insecure", mutual, tls, insecure, "", ""},
		{"mutual TLS and local, proofs", mutual, local, auth, "", ""},
		{"TLS and plain, proofs", tls, plain, auth, "transport 2 of 2 " + falls, "transport 1 of 2 " + falls},
		{"mutual TLS and plain, proofs", mutual, plain, auth, "transport 2 of 2 " + falls, "transport 1 of 2 " + falls},
		{"TLS and local, proofs", tls, local, auth, "", ""},
		{"TLS and plain behind a proxy, proofs", tls, plain, proxy, "", ""},
		{"mutual TLS and plain, insecure", mutual, plain, insecure, "", ""},
		{"both plain, insecure", plain, plain, insecure, "", ""},
	} {
		for order, want := range []string{test.first, test.second} {
			synctest.Test(t, func(t *testing.T) {
				p := newPair(t, true)
				p.udps.promise, p.tcps.promise = &test.udp, &test.tcp
				if order == 1 {
					p.udps.promise, p.tcps.promise = &test.tcp, &test.udp
				}
				cfg := core.Config{Local: p.nodes[0], Transport: p.transport(0)}
				test.set(&cfg)
				m, err := core.NewManager(cfg)
				if err != nil {
					t.Fatal(err)
				}
				defer m.Close()
				err = m.Start(t.Context())
				if want == "" && err != nil {
					t.Errorf("%s: Start failed: %v", test.name, err)
				}
				if want != "" {
					lab.WantText(t, test.name, err, want)
					ln, err := p.udp.Node(p.name(0)).Listen(t.Context(), p.nodes[0].Addr)
					if err != nil {
						t.Fatalf("%s: the address is not free after Start has failed: %v", test.name, err)
					}
					ln.Close()
				}
			})
		}
	}
}

// TestNoFallBackToPlain blocks the transport that speaks TLS. The other one
// promised to speak it too, and its links do not: no node takes them, although
// the peer could prove who it is.
func TestNoFallBackToPlain(t *testing.T) {
	bothRoles(t, func(t *testing.T, p *pair) {
		p.configure = func(_ int, cfg *core.Config) { cfg.Auth = core.SharedKey([]byte("0123456789abcdef0123456789abcdef")) }
		p.udps.promise = &transport.ListenerInfo{TLS: true}
		p.tcps.promise = &transport.ListenerInfo{TLS: true}
		p.block(p.udp)
		p.startOne(dialler)
		p.startOne(other)
		time.Sleep(30 * time.Second)
		for i := range p.nodes {
			if got := p.stats(i).Transport; got != "" {
				t.Errorf("node %d is connected over %q", i, got)
			}
			lab.WantText(t, "why there is no connection", p.stats(i).Down, "tcp to", "does not speak TLS")
		}
	})
}

// strange offers what no MultiTransport may.
type strange struct {
	transport.Transport

	all []transport.Transport
}

func (s strange) Transports() []transport.Transport { return s.all }

// TestStrangeLists makes nodes with lists of transports that cannot be used.
func TestStrangeLists(t *testing.T) {
	p := newPair(t, true)
	for name, test := range map[string]struct {
		list  transport.Transport
		made  string // the error of NewManager; "": none
		start string // that of Start
	}{
		"empty":      {strange{p.udpOf(0), nil}, "Config.Transport offers 0 transports", ""},
		"nil in it":  {strange{p.udpOf(0), []transport.Transport{p.udpOf(0), nil}}, "Config.Transport offers 2 transports", ""},
		"nil in one": {transport.Fallback(p.udpOf(0), nil), "", "the transport given to Fallback is nil"},
	} {
		m, err := core.NewManager(core.Config{Local: p.nodes[0], Transport: test.list})
		if test.made != "" {
			lab.WantText(t, name, err, test.made)
			continue
		}
		if err != nil {
			t.Fatalf("%s: NewManager failed: %v", name, err)
		}
		lab.WantText(t, name, m.Start(t.Context()), test.start)
	}
}

// TestStrangersOfAllTransportsTogether has strangers hold connections open by both
// transports, without a word. Together they hold no more than 256, and keep no peer
// out by either.
func TestStrangersOfAllTransportsTogether(t *testing.T) {
	bothRoles(t, func(t *testing.T, p *pair) {
		p.configure = func(_ int, cfg *core.Config) { cfg.ConnectTimeout = time.Minute }
		p.startOne(other)
		for _, n := range []*inmem.Network{p.udp, p.tcp} {
			n.RefuseDials(p.name(other), p.name(dialler)) // or the peer might be dialled, by either
			for range 200 {
				tc, err := n.Node("stranger").Dial(t.Context(), transport.Peer{Name: p.name(other), Addr: p.nodes[other].Addr})
				if err != nil {
					t.Fatal(err)
				}
				defer tc.CloseWithError(0, "")
			}
		}
		synctest.Wait()
		if udp, tcp := p.udps.opened(other), p.tcps.opened(other); udp+tcp != 256 || udp == 0 || tcp == 0 {
			t.Errorf("strangers hold %d connections by udp and %d by tcp, want 256 of both together", udp, tcp)
		}
		p.startOne(dialler)
		p.wait()
		p.want("udp", "beside strangers")
		time.Sleep(2 * time.Minute)
		p.wantOpen(1, 0, "when the time of the strangers is over")
	})
}
