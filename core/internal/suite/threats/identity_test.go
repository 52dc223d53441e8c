package threats_test

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/coretest"
	"github.com/gridmux/gridmux/core/internal/lab"
	"github.com/gridmux/gridmux/transport/inmem"
)

// duo is two nodes over a network in memory. The first dials the second.
type duo struct {
	network *inmem.Network
	names   [2]string
	nodes   [2]*core.Manager
	books   [2]*lab.LogBook
}

// newDuo makes and starts two nodes with echoes, the second first.
func newDuo(t testing.TB, adjust func(i int, cfg *core.Config), register ...func(m *core.Manager) error) *duo {
	t.Helper()
	d := &duo{network: inmem.NewNetwork(), names: [2]string{"a", "b"}, books: [2]*lab.LogBook{new(lab.LogBook), new(lab.LogBook)}}
	if !lab.Dials(d.names[0], d.names[1]) {
		d.names[0], d.names[1] = d.names[1], d.names[0]
	}
	for i := 1; i >= 0; i-- {
		own, other := d.names[i], d.names[1-i]
		cfg := core.Config{
			Local: core.Node{Name: own, Addr: own}, Peers: []core.Node{{Name: other, Addr: other}},
			Transport: d.network.Node(own), Logger: d.books[i].Logger(),
		}
		adjust(i, &cfg)
		m, err := core.NewManager(cfg)
		if err != nil {
			t.Fatalf("making a node failed: %v", err)
		}
		t.Cleanup(func() { m.Close() })
		err = lab.RegisterEchoes(m)
		for _, f := range register {
			err = errors.Join(err, f(m))
		}
		if err = errors.Join(err, m.Start(t.Context())); err != nil {
			t.Fatalf("starting a node failed: %v", err)
		}
		d.nodes[i] = m
	}
	return d
}

// conn is the connection of node i to the other.
func (d *duo) conn(i int) *core.Connection { return d.nodes[i].Connection(d.names[1-i]) }

// why is what node i says of its missing connection after it had time.
func (d *duo) why(t testing.TB, i int, patience time.Duration) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	return d.conn(i).WaitConnected(ctx)
}

func (d *duo) close() {
	d.nodes[0].Close()
	d.nodes[1].Close()
}

// withAuth gives all nodes of a cluster means to prove themselves, and nothing
// else that would let them connect.
func withAuth(auth func(i int, name string) core.Authenticator) coretest.Option {
	return coretest.WithConfig(func(i int, cfg *core.Config) {
		cfg.Auth, cfg.AllowInsecure = auth(i, cfg.Local.Name), false
	})
}

// whoCalls is a handler that answers with what it knows of its caller.
func whoCalls(ctx context.Context, _ []byte) ([]byte, error) {
	return fmt.Appendf(nil, "%s is %+v", core.PeerFromContext(ctx), core.CallerFromContext(ctx)), nil
}

// TestCallerFromContext holds what handlers learn of who has proved what, with
// every means and over every link (T14).
func TestCallerFromContext(t *testing.T) {
	if id := core.CallerFromContext(t.Context()); id != (core.Identity{}) {
		t.Errorf("outside a handler the caller is %+v, want nobody", id)
	}
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		linkProves := ""
		if l.TLS {
			linkProves = "mutual TLS"
		}
		for method, opt := range map[string]coretest.Option{
			"shared key": withAuth(func(int, string) core.Authenticator { return identityKinds[0].auth("") }),
			"node key":   withAuth(func(_ int, name string) core.Authenticator { return identityKinds[1].auth(name) }),
			"of my own":  withAuth(func(int, string) core.Authenticator { return ownAuth{method: "of my own"} }),
			linkProves:   lab.Configure(func(*core.Config) {}),
		} {
			c := l.Cluster(t, 2, lab.Handle("who", whoCalls), opt)
			for from := range 2 {
				for to := range 2 {
					name := c.Node(from).Name
					id := core.Identity{Name: name, Method: method}
					switch {
					case from == to:
						id.Method = "loopback"
					case method == "":
						id = core.Identity{}
					}
					want := fmt.Sprintf("%s is %+v", name, id)
					if got := string(lab.MustCall(t, c.Conn(from, to), "who", nil)); got != want {
						t.Errorf("nodes with %q: the handler is told %q, want %q", method, got, want)
					}
				}
			}
		}
	})
}

// ownAuth is an Authenticator of a user. Its methods may be replaced.
type ownAuth struct {
	method string
	prove  func(ctx context.Context, peer string) ([]byte, error)
	verify func(ctx context.Context, claimed string) (core.Identity, error)
}

func (a ownAuth) Prove(ctx context.Context, peer string, transcript []byte) ([]byte, error) {
	if len(transcript) != 32 {
		return nil, fmt.Errorf("a transcript of %d bytes", len(transcript))
	}
	if a.prove != nil {
		return a.prove(ctx, peer)
	}
	return []byte("the proof for " + peer), nil
}

func (a ownAuth) Verify(ctx context.Context, claimed string, _, proof []byte) (core.Identity, error) {
	if a.verify != nil {
		return a.verify(ctx, claimed)
	}
	if !strings.HasPrefix(string(proof), "the proof for ") {
		return core.Identity{}, errors.New("this is no proof")
	}
	return core.Identity{Name: claimed, Method: a.method}, nil
}

// TestSharedKeyRotation replaces a key in the three steps that SharedKey
// describes, node by node, each drained and started again. No call fails that
// may be made again, and none of the others at all.
func TestSharedKeyRotation(t *testing.T) {
	lab.InBubbles(t, func(t *testing.T, l *lab.Link) {
		const nodes = 3
		before, after := []byte("the key of last year"), []byte("the key of this year")
		keys := make([][][]byte, nodes)
		for i := range keys {
			keys[i] = [][]byte{before}
		}
		c := l.Cluster(t, nodes, lab.Impatient(), withAuth(func(i int, _ string) core.Authenticator { return core.SharedKey(keys[i]...) }))
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		calls := make([]int, nodes)
		for from := range nodes {
			wg.Go(func() {
				for ctx.Err() == nil {
					for to := range nodes {
						m := c.Manager(from)
						_, err := m.Connection(c.Node(to).Name).Request(t.Context(), "echo", []byte("x"), core.WaitForConnection(), core.WithTimeout(time.Minute))
						gone := errors.Is(err, core.ErrClosed) || errors.Is(err, core.ErrDraining) || errors.Is(err, core.ErrNotStarted)
						if err != nil && (core.OutcomeOf(err) == core.OutcomeMaybeRun || !gone) {
							t.Errorf("a call failed while keys were replaced: %v", err)
						}
						calls[from]++
					}
					time.Sleep(time.Millisecond)
				}
			})
		}
		for _, step := range [][][]byte{{before, after}, {after, before}, {after}} {
			for i := range nodes {
				keys[i] = step
				if err := c.Manager(i).Shutdown(t.Context()); err != nil {
					t.Errorf("draining failed: %v", err)
				}
				c.Restart(i)
				c.WaitConnected()
				time.Sleep(20 * time.Millisecond)
			}
		}
		cancel()
		wg.Wait()
		for i, n := range calls {
			if n < 100 {
				t.Errorf("node %d made %d calls meanwhile, want many", i, n)
			}
		}
		// The old key is worth nothing any more.
		keys[0] = [][]byte{before}
		c.Restart(0)
		time.Sleep(200 * time.Millisecond)
		if s := c.Conn(0, 1).State(); s != core.StateConnecting {
			t.Errorf("a node with the old key is %v", s)
		}
	})
}

// TestNodeKeysLookup changes what lookup knows: it is asked at every attempt,
// and never about sessions that stand.
func TestNodeKeysLookup(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		var mu sync.Mutex
		known := map[string]ed25519.PublicKey{"node-0": publicKey("node-0")}
		set := func(name string, key ed25519.PublicKey) {
			mu.Lock()
			defer mu.Unlock()
			known[name] = key
		}
		lookup := func(name string) (ed25519.PublicKey, bool) {
			mu.Lock()
			defer mu.Unlock()
			k, ok := known[name]
			return k, ok
		}
		own := "node-1"
		c := l.Cluster(t, 2, coretest.Unstarted(), lab.Configure(func(cfg *core.Config) { cfg.MaxBackoff = 20 * time.Millisecond }), withAuth(func(i int, name string) core.Authenticator {
			if i == 1 {
				name = own
			}
			return core.NodeKeys(nodeKey(name), lookup)
		}))
		c.Start(0)
		c.Start(1)
		refused := func(when string) {
			t.Helper()
			ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
			defer cancel()
			if err := c.Conn(0, 1).WaitConnected(ctx); err == nil {
				t.Errorf("%s: there is a connection, want none", when)
			}
		}
		refused("a node whose key nobody knows")
		set("node-1", publicKey("node-1"))
		c.WaitConnected()
		lab.MustCall(t, c.Conn(0, 1), "echo", nil, core.WaitForConnection())
		set("node-1", publicKey("another key"))
		for range 100 {
			lab.MustCall(t, c.Conn(0, 1), "echo", nil, core.WaitForConnection())
		}
		c.Cut(0, 1)
		lab.Until(t, "the cut is noticed", func() bool { return c.Conn(0, 1).State() != core.StateConnected })
		refused("a node whose key was replaced")
		own = "another key"
		c.Restart(1)
		c.WaitConnected()
		lab.MustCall(t, c.Conn(1, 0), "echo", nil, core.WaitForConnection())
	})
}

// TestWrongKeySays has two nodes with different keys, or one without, meet. Both
// say what is wrong in words that help, and no secret is among them (D25).
func TestWrongKeySays(t *testing.T) {
	const secretA, secretB = "SECRET of the first cluster", "SECRET of another cluster"
	nodeA := func(name string) core.Authenticator { return core.NodeKeys(nodeKey(name), lookupKey) }
	for _, test := range []struct {
		name  string
		auth  [2]core.Authenticator
		texts [2][]string // of the dialler's error and of the acceptor's log
	}{
		{
			"two shared keys",
			[2]core.Authenticator{core.SharedKey([]byte(secretA)), core.SharedKey([]byte(secretB))},
			[2][]string{{"code 20", "strangers no reason", "Config.Auth", "its keys"}, {"inbound connection refused", "claims to be", "not made with a key that this node has"}},
		},
		{
			"the dialler has none",
			[2]core.Authenticator{nil, core.SharedKey([]byte(secretB))},
			[2][]string{{"code 20", "strangers no reason", "Config.Auth"}, {"inbound connection refused", "claims to be", "empty", "no Config.Auth"}},
		},
		{
			"the acceptor has none",
			[2]core.Authenticator{core.SharedKey([]byte(secretA)), nil},
			[2][]string{{"claims to be", "empty", "no Config.Auth"}, {"closed by the peer", "code 20", "proof of identity was not accepted"}},
		},
		{
			"two kinds",
			[2]core.Authenticator{core.SharedKey([]byte(secretA)), nodeA("x")},
			[2][]string{{"code 20", "strangers no reason", "Config.Auth"}, {"inbound connection refused", "claims to be", "not signed with the private key of node"}},
		},
		{
			"the private key of another node",
			[2]core.Authenticator{nodeA("x"), nodeA("y")},
			[2][]string{{"code 20", "strangers no reason", "Config.Auth", "its keys"}, {"inbound connection refused", "claims to be", "not signed with the private key of node"}},
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDuo(t, func(i int, cfg *core.Config) { cfg.Auth, cfg.AllowInsecure = test.auth[i], test.auth[i] == nil })
				dialler := d.why(t, 0, 500*time.Millisecond)
				lab.WantText(t, "the dialler", dialler, append(test.texts[0], d.names[1])...)
				acceptor := errors.New(d.books[1].String())
				lab.WantText(t, "the acceptor's log", acceptor, test.texts[1]...)
				said := fmt.Sprint(dialler, acceptor, d.books[0])
				if strings.Contains(said, "SECRET") {
					t.Errorf("a secret is in what the nodes say: %s", said)
				}
			})
		})
	}
}

// TestStartWithAuth lets a node with Config.Auth listen on plaintext, and one
// without only if it is told to.
func TestStartWithAuth(t *testing.T) {
	for _, auth := range []core.Authenticator{nil, core.SharedKey(testKey), ownAuth{}} {
		n := newMember(t, "a", nil)
		err := n.start(t, core.Config{Local: core.Node{Name: "a"}, Auth: auth})
		if auth == nil {
			lab.WantText(t, "without Config.Auth", err, "Config.Auth", "mutual TLS", "Config.AllowInsecure", n.addr)
		} else if err != nil {
			t.Errorf("with Config.Auth: Start failed: %v", err)
		}
	}
}
