package lab

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/internal/wire"
	"github.com/gridmux/gridmux/transport"
	"github.com/gridmux/gridmux/transport/inmem"
)

// RawCluster is a Manager under test, the subject, with two peers: an honest
// node, and one that the test plays by hand, frame by frame. It lives in a
// bubble, where "nothing arrived" is a fact and not a matter of patience.
type RawCluster struct {
	T       testing.TB // the test that the cluster belongs to
	Network *inmem.Network
	Subject *core.Manager
	Honest  *core.Manager
	Name    string // name and address of the peer that the test plays

	Listener transport.Listener // of the raw peer, where the subject dials it
}

// RawSetup is what a test wants to be different. The zero value is an ordinary
// node that the raw peer dials.
type RawSetup struct {
	Config   func(cfg *core.Config)
	Auth     func(name string) core.Authenticator // of the subject and the honest node
	Handlers map[core.HandlerID]core.HandlerFunc
	Inline   map[core.HandlerID]core.AppendFunc
	Register func(m *core.Manager) error // more handlers, of streams
	Dials    bool                        // the subject dials the raw peer
	Name     string                      // the raw peer's name begins with it; "": it is before the subject's
	Info     func(info *transport.Info)  // what the subject's links say of themselves
	Buffer   int                         // of a link; 1: one frame at a time
	Lanes    bool                        // the links have lanes
}

// The names of the nodes of a RawCluster, and of the cluster.
const SubjectName, HonestName, RawClusterName = "subject", "honest", "protocol"

// Dials reports whether the node called own dials the other: the rule of W60,
// written down once more.
func Dials(own, other string) bool {
	a, b := sha256.Sum256([]byte(own+"\x00"+other)), sha256.Sum256([]byte(other+"\x00"+own))
	return bytes.Compare(a[:], b[:]) < 0
}

// RawName returns a name for a peer that the subject dials, or that dials it.
func RawName(subjectDials bool) string { return rawNameLike("raw", subjectDials) }

func rawNameLike(prefix string, subjectDials bool) string {
	for i := 0; ; i++ {
		if name := fmt.Sprintf("%s-%d", prefix, i); Dials(SubjectName, name) == subjectDials {
			return name
		}
	}
}

// NewRawCluster starts the subject and the honest node, in a bubble. The raw peer
// has not connected yet.
func NewRawCluster(t testing.TB, setup RawSetup) *RawCluster {
	t.Helper()
	opts := []inmem.Option{inmem.WithBuffer(setup.Buffer)}
	if setup.Lanes {
		opts = append(opts, inmem.WithLanes())
	}
	r := &RawCluster{
		T:       t,
		Network: inmem.NewNetwork(opts...),
		Name:    rawNameLike(cmp.Or(setup.Name, "raw"), setup.Dials),
	}
	if setup.Dials {
		ln, err := r.Network.Node(r.Name).Listen(t.Context(), r.Name)
		if err != nil {
			t.Fatalf("the raw peer cannot listen: %v", err)
		}
		r.Listener = ln
		t.Cleanup(func() { ln.Close() })
	}
	nodes := []core.Node{{Name: SubjectName, Addr: SubjectName}, {Name: HonestName, Addr: HonestName}}
	start := func(i int, peers []core.Node, tr transport.Transport, adjust func(*core.Config)) *core.Manager {
		cfg := core.Config{Cluster: RawClusterName, Local: nodes[i], Peers: peers, Transport: tr, Logger: slog.New(slog.DiscardHandler)}
		if setup.Auth != nil {
			cfg.Auth = setup.Auth(cfg.Local.Name)
		}
		if adjust != nil {
			adjust(&cfg)
		}
		m, err := core.NewManager(cfg)
		if err != nil {
			t.Fatalf("making a node failed: %v", err)
		}
		t.Cleanup(func() { m.Close() })
		err = RegisterEchoes(m)
		for id, h := range setup.Handlers {
			err = errors.Join(err, m.Handle(id, h))
		}
		for id, h := range setup.Inline {
			err = errors.Join(err, m.HandleAppend(id, h, core.WithInline()))
		}
		if setup.Register != nil {
			err = errors.Join(err, setup.Register(m))
		}
		if err = errors.Join(err, m.Start(t.Context())); err != nil {
			t.Fatalf("starting a node failed: %v", err)
		}
		return m
	}
	r.Honest = start(1, nodes, r.Network.Node(HonestName), nil)
	var tr transport.Transport = r.Network.Node(SubjectName)
	if setup.Info != nil {
		tr = toldTransport{tr, setup.Info}
	}
	r.Subject = start(0, append(nodes, core.Node{Name: r.Name, Addr: r.Name}), tr, setup.Config)
	r.Alive("at the start")
	return r
}

// Alive holds that the subject and an honest node reach each other, in both
// directions.
func (r *RawCluster) Alive(when string) {
	r.T.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for _, c := range []*core.Connection{r.Subject.Connection(HonestName), r.Honest.Connection(SubjectName)} {
		got, err := c.Request(ctx, "echo", []byte("still here"), core.WaitForConnection())
		if string(got) != "still here" {
			r.T.Fatalf("%s: a call of the honest pair to %s returned %q, %v: one peer's doings must not touch another",
				when, c.Peer(), got, err)
		}
	}
}

// Conn is the subject's connection to the raw peer.
func (r *RawCluster) Conn() *core.Connection { return r.Subject.Connection(r.Name) }

// Call makes the subject call the raw peer. The handler is storage.stat.
func (r *RawCluster) Call(ctx context.Context, req []byte, opts ...core.CallOption) <-chan Reply {
	return GoCall(ctx, r.Conn(), "storage.stat", req, opts...)
}

// Dial connects to the subject, and says nothing yet.
func (r *RawCluster) Dial() *RawPeer {
	r.T.Helper()
	tc, err := r.Network.Node(r.Name).Dial(r.T.Context(), transport.Peer{Name: SubjectName, Addr: SubjectName})
	if err != nil {
		r.T.Fatalf("the raw peer cannot dial: %v", err)
	}
	return r.newPeer(tc, 0)
}

// Accept takes the connection that the subject makes, and says nothing yet. It
// needs RawSetup.Dials.
func (r *RawCluster) Accept() *RawPeer {
	r.T.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	tc, err := r.Listener.Accept(ctx)
	if err != nil {
		r.T.Fatalf("the subject does not dial: %v", err)
	}
	return r.Play(tc)
}

// Play plays the raw peer on a connection that the subject has made.
func (r *RawCluster) Play(tc transport.Conn) *RawPeer {
	r.T.Helper()
	return r.newPeer(tc, 1)
}

// Connect is Dial with the handshake, for which HELLO is changed as asked.
func (r *RawCluster) Connect(changes ...func(h *wire.Hello)) *RawPeer {
	r.T.Helper()
	p := r.Dial()
	p.Handshake(changes...)
	return p
}

// Reconnect connects anew, whoever it is that dials.
func (r *RawCluster) Reconnect() *RawPeer {
	r.T.Helper()
	if r.Listener == nil {
		return r.Connect()
	}
	p := r.Accept()
	p.Handshake()
	return p
}

// WhyNot is what the subject says of its missing connection to the raw peer.
func (r *RawCluster) WhyNot() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Nanosecond)
	defer cancel()
	return r.Conn().WaitConnected(ctx)
}

// DialFrom is Dial from another host.
func (r *RawCluster) DialFrom(host string) *RawPeer {
	r.T.Helper()
	own := r.Name
	r.Name = host
	defer func() { r.Name = own }()
	return r.Dial()
}

// RawTest is Bubble with a RawCluster.
func RawTest(t *testing.T, name string, setup RawSetup, test func(t *testing.T, r *RawCluster)) {
	t.Helper()
	Bubble(t, name, func(t *testing.T) { test(t, NewRawCluster(t, setup)) })
}
