package suite_test

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/internal/wire"
	"github.com/gridmux/gridmux/transport"
	"github.com/gridmux/gridmux/transport/inmem"
)

// rawCluster is a Manager under test, the subject, with two peers: an honest
// node, and one that the test plays by hand, frame by frame. It lives in a
// bubble, where "nothing arrived" is a fact and not a matter of patience.
type rawCluster struct {
	t       testing.TB
	network *inmem.Network
	subject *core.Manager
	honest  *core.Manager
	raw     string // name and address of the peer that the test plays

	listener transport.Listener // of the raw peer, where the subject dials it
}

// rawSetup is what a test wants to be different. The zero value is an ordinary
// node that the raw peer dials.
type rawSetup struct {
	config  func(cfg *core.Config)
	auth    func(name string) core.Authenticator // of the subject and the honest node
	handler map[core.HandlerID]core.HandlerFunc
	inline  map[core.HandlerID]core.AppendFunc
	dials   bool                       // the subject dials the raw peer
	name    string                     // the raw peer's name begins with it; "": it is before the subject's
	info    func(info *transport.Info) // what the subject's links say of themselves
	buffer  int                        // of a link; 1: one frame at a time
}

const rawSubject, rawHonest, rawClusterName = "subject", "honest", "protocol"

// lowerHash is the rule of W60, written down once more.
func lowerHash(own, other string) bool {
	a, b := sha256.Sum256([]byte(own+"\x00"+other)), sha256.Sum256([]byte(other+"\x00"+own))
	return bytes.Compare(a[:], b[:]) < 0
}

// rawName returns a name for a peer that the subject dials, or that dials it.
func rawName(subjectDials bool) string { return rawNameLike("raw", subjectDials) }

func rawNameLike(prefix string, subjectDials bool) string {
	for i := 0; ; i++ {
		if name := fmt.Sprintf("%s-%d", prefix, i); lowerHash(rawSubject, name) == subjectDials {
			return name
		}
	}
}

func newRawCluster(t testing.TB, setup rawSetup) *rawCluster {
	t.Helper()
	r := &rawCluster{t: t, network: inmem.NewNetwork(inmem.WithBuffer(setup.buffer)), raw: rawNameLike(cmp.Or(setup.name, "raw"), setup.dials)}
	if setup.dials {
		ln, err := r.network.Node(r.raw).Listen(t.Context(), r.raw)
		if err != nil {
			t.Fatalf("the raw peer cannot listen: %v", err)
		}
		r.listener = ln
		t.Cleanup(func() { ln.Close() })
	}
	nodes := []core.Node{{Name: rawSubject, Addr: rawSubject}, {Name: rawHonest, Addr: rawHonest}}
	start := func(i int, peers []core.Node, tr transport.Transport, adjust func(*core.Config)) *core.Manager {
		cfg := core.Config{Cluster: rawClusterName, Local: nodes[i], Peers: peers, Transport: tr}
		if setup.auth != nil {
			cfg.Auth = setup.auth(cfg.Local.Name)
		}
		if adjust != nil {
			adjust(&cfg)
		}
		m, err := core.NewManager(cfg)
		if err != nil {
			t.Fatalf("making a node failed: %v", err)
		}
		t.Cleanup(func() { m.Close() })
		err = registerEchoes(m)
		for id, h := range setup.handler {
			err = errors.Join(err, m.Handle(id, h))
		}
		for id, h := range setup.inline {
			err = errors.Join(err, m.HandleAppend(id, h, core.WithInline()))
		}
		if err = errors.Join(err, m.Start(t.Context())); err != nil {
			t.Fatalf("starting a node failed: %v", err)
		}
		return m
	}
	r.honest = start(1, nodes, r.network.Node(rawHonest), nil)
	var tr transport.Transport = r.network.Node(rawSubject)
	if setup.info != nil {
		tr = toldTransport{tr, setup.info}
	}
	r.subject = start(0, append(nodes, core.Node{Name: r.raw, Addr: r.raw}), tr, setup.config)
	r.alive("at the start")
	return r
}

// alive holds that the subject and an honest node reach each other, in both
// directions.
func (r *rawCluster) alive(when string) {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for _, c := range []*core.Connection{r.subject.Connection(rawHonest), r.honest.Connection(rawSubject)} {
		got, err := c.Request(ctx, "echo", []byte("still here"), core.WaitForConnection())
		if string(got) != "still here" {
			r.t.Fatalf("%s: a call of the honest pair to %s returned %q, %v: one peer's doings must not touch another", when, c.Peer(), got, err)
		}
	}
}

// conn is the subject's connection to the raw peer.
func (r *rawCluster) conn() *core.Connection { return r.subject.Connection(r.raw) }

// call makes the subject call the raw peer.
func (r *rawCluster) call(ctx context.Context, req []byte, opts ...core.CallOption) <-chan reply {
	return startCall(ctx, r.conn(), "storage.stat", req, opts...)
}

// dial connects to the subject, and says nothing yet.
func (r *rawCluster) dial() *rawPeer {
	r.t.Helper()
	tc, err := r.network.Node(r.raw).Dial(r.t.Context(), transport.Peer{Name: rawSubject, Addr: rawSubject})
	if err != nil {
		r.t.Fatalf("the raw peer cannot dial: %v", err)
	}
	return r.newPeer(tc, 0)
}

// accept takes the connection that the subject makes, and says nothing yet.
func (r *rawCluster) accept() *rawPeer {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	tc, err := r.listener.Accept(ctx)
	if err != nil {
		r.t.Fatalf("the subject does not dial: %v", err)
	}
	return r.newPeer(tc, 1)
}

// connect is dial with the handshake.
func (r *rawCluster) connect(changes ...func(h *wire.Hello)) *rawPeer {
	r.t.Helper()
	p := r.dial()
	p.handshake(changes...)
	return p
}

// rawPeer is one connection of the peer that the test plays.
type rawPeer struct {
	t    testing.TB
	r    *rawCluster
	tc   transport.Conn
	side uint8
	sums bool // batches begin with a checksum

	init  wire.Init  // what the subject sent
	hello wire.Hello // what the subject sent

	mu      sync.Mutex
	more    *sync.Cond
	allowed int // batches that may still be read
	batches [][]byte
	longest int
	err     error // how the connection ended
	endedAt time.Time

	rest []byte // of the batch that is looked at
}

const unlimited = 1 << 28

func (r *rawCluster) newPeer(tc transport.Conn, side uint8) *rawPeer {
	p := &rawPeer{t: r.t, r: r, tc: tc, side: side, allowed: unlimited}
	p.more = sync.NewCond(&p.mu)
	r.t.Cleanup(func() {
		tc.CloseWithError(0, "")
		p.allow(unlimited)
	})
	go p.read()
	return p
}

// read takes what arrives, as much as allowed.
func (p *rawPeer) read() {
	for {
		p.mu.Lock()
		for p.allowed <= 0 {
			p.more.Wait()
		}
		p.allowed--
		p.mu.Unlock()
		b, err := p.tc.ReadFrame(1 << 20)
		p.mu.Lock()
		if err != nil {
			p.err, p.endedAt = err, time.Now()
			p.mu.Unlock()
			return
		}
		p.batches = append(p.batches, bytes.Clone(b))
		p.longest = max(p.longest, len(b))
		p.mu.Unlock()
	}
}

// allow makes the peer read at most n more batches.
func (p *rawPeer) allow(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.allowed = n
	p.more.Signal()
}

// deafHandshake shakes hands and reads nothing after it, until allow.
func (p *rawPeer) deafHandshake() {
	p.t.Helper()
	synctest.Wait()
	// The reader is in its first read already, which brings INIT; HELLO and
	// PROOF follow.
	p.allow(2)
	p.handshake()
}

// write sends bytes as one batch, exactly as they are.
func (p *rawPeer) write(b []byte) {
	p.t.Helper()
	if err := p.tc.WriteFrames([][]byte{bytes.Clone(b)}); err != nil && p.ended() == nil {
		p.t.Fatalf("writing failed on a connection that lives: %v", err)
	}
}

// send sends frames as one batch.
func (p *rawPeer) send(frames ...[]byte) {
	p.t.Helper()
	b := bytes.Join(frames, nil)
	if p.sums {
		b = append(make([]byte, wire.ChecksumSize), b...)
		wire.PutChecksum(b)
	}
	p.write(b)
}

func (p *rawPeer) ended() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err
}

// next returns the next frame that has arrived, if any, after everybody has
// done what there was to do. PADDING is what a sender has taken back.
func (p *rawPeer) next() (f wire.Frame, ok bool) {
	p.t.Helper()
	synctest.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	for !ok || f.Type == wire.TypePadding {
		for len(p.rest) == 0 {
			if len(p.batches) == 0 {
				return f, false
			}
			p.rest, p.batches = p.batches[0], p.batches[1:]
			if p.sums {
				if p.rest, ok = wire.CheckBatch(p.rest); !ok {
					p.t.Fatal("the subject sent a batch whose checksum does not match")
				}
			}
		}
		var err error
		if f, p.rest, err = wire.Next(p.rest); err != nil {
			p.t.Fatalf("the subject sent what is no frame: %v", err)
		}
		ok = true
	}
	return f, true
}

// want returns the next frame, which has to be of the type.
func (p *rawPeer) want(typ wire.Type, sentence string) wire.Frame {
	p.t.Helper()
	f, ok := p.next()
	switch {
	case !ok:
		p.t.Fatalf("%s: nothing arrived, want %v; the connection's end: %v", sentence, typ, p.ended())
	case f.Type != typ:
		p.t.Fatalf("%s: got %v %v with %q, want %v", sentence, f.Type, f.ID, f.Body, typ)
	}
	return f
}

// wantStatus is want for a frame that carries a status with the code.
func (p *rawPeer) wantStatus(typ wire.Type, code wire.Code, sentence string) wire.Status {
	p.t.Helper()
	f := p.want(typ, sentence)
	st, err := wire.ParseStatus(&f)
	if err != nil || st.Code != code {
		p.t.Fatalf("%s: got %v with code %d and message %q, %v; want code %d", sentence, typ, st.Code, st.Message, err, code)
	}
	return st
}

// wantIdle holds that nothing more has arrived on a connection that lives.
func (p *rawPeer) wantIdle(sentence string) {
	p.t.Helper()
	if f, ok := p.next(); ok {
		p.t.Fatalf("%s: got %v %v with %q, want silence", sentence, f.Type, f.ID, f.Body)
	}
	if err := p.ended(); err != nil {
		p.t.Fatalf("%s: the connection ended: %v; want it to live", sentence, err)
	}
}

// wantClosed holds that the subject has closed the connection with the code and
// sent nothing else before, and returns its reason.
func (p *rawPeer) wantClosed(code wire.Code, sentence string) string {
	p.t.Helper()
	if f, ok := p.next(); ok {
		p.t.Fatalf("%s: got %v %v with %q, want the end with code %d", sentence, f.Type, f.ID, f.Body, code)
	}
	err := p.ended()
	closed, ok := errors.AsType[*transport.CloseError](err)
	if !ok || closed.Code != uint32(code) {
		p.t.Fatalf("%s: the connection's end is: %v; want close code %d", sentence, err, code)
	}
	return closed.Reason
}

// wantLife holds that the session goes on: a ping is answered, and then a call.
func (p *rawPeer) wantLife(slot uint32, sentence string) {
	p.t.Helper()
	p.send(wire.AppendPing(nil, wire.TypePing, 77))
	if f := p.want(wire.TypePong, sentence+", then a PING"); binary.LittleEndian.Uint64(f.Body) != 77 {
		p.t.Fatalf("%s: PONG returned another value", sentence)
	}
	p.send(p.request(slot, 1<<31, "echo", []byte("life")))
	if f := p.want(wire.TypeResponse, sentence+", then a call"); string(f.Body) != "life" {
		p.t.Fatalf("%s: an echo returned %q", sentence, f.Body)
	}
	p.wantIdle(sentence)
}
