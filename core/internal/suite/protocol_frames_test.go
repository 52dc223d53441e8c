package suite_test

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"hash/crc32"
	"testing"
	"testing/synctest"

	"github.com/gridmux/gridmux/core/internal/wire"
	"github.com/gridmux/gridmux/transport"
)

// rawFrame returns the bytes of any frame, be it valid or not.
func rawFrame(f wire.Frame) []byte {
	b := binary.LittleEndian.AppendUint32(nil, uint32(len(f.Body)))
	b = append(b, byte(f.Type), byte(f.Flags), f.Codec, f.Dict)
	b = binary.LittleEndian.AppendUint64(b, uint64(f.ID))
	return append(b, f.Body...)
}

// rawInit returns an INIT.
func rawInit(lowest, highest uint8) []byte {
	return wire.AppendInit(nil, &wire.Init{MinVersion: lowest, MaxVersion: highest, Nonce: [wire.NonceSize]byte{1, 2, 3}})
}

// rawProof returns a PROOF. The nodes of these tests look at none.
func rawProof() []byte { return wire.AppendProof(nil, nil) }

// rawHash is the rule of W25, written down once more, for no route.
func rawHash(id string) uint64 {
	sum := sha256.Sum256([]byte(id + "\x00"))
	return binary.LittleEndian.Uint64(sum[:8])
}

func rawStatus(t wire.Type, id wire.CallID, code wire.Code) []byte {
	return wire.AppendStatus(nil, t, id, wire.Status{Code: code, Message: "the raw peer says so"})
}

// ownHello is a HELLO that the subject accepts.
func (p *rawPeer) ownHello() wire.Hello {
	return wire.Hello{
		Cluster:  rawClusterName,
		From:     p.r.raw,
		To:       rawSubject,
		Instance: [wire.InstanceSize]byte{9, 9, 9},
		MaxFrame: wire.MinMaxFrame,
		MaxMsg:   1 << 30,
		Window:   wire.DefaultWindow, MaxCalls: 1 << 20,
	}
}

// helloBytes returns a HELLO that is changed as asked.
func (p *rawPeer) helloBytes(changes ...func(h *wire.Hello)) []byte {
	h := p.ownHello()
	for _, change := range changes {
		change(&h)
	}
	return wire.AppendHello(nil, &h)
}

// rawHello returns a HELLO with the body's map changed, and its length and
// checksum made to fit.
func (p *rawPeer) rawHello(change func(fields []byte) []byte) []byte {
	b := p.helloBytes()
	fields := change(b[wire.HeaderSize : len(b)-4])
	sum := crc32.Checksum(fields, crc32.MakeTable(crc32.Castagnoli))
	return rawFrame(wire.Frame{Type: wire.TypeHello, Body: binary.LittleEndian.AppendUint32(fields, sum)})
}

// oneMore appends one field to the map of a HELLO.
func oneMore(key string, value ...byte) func(fields []byte) []byte {
	return func(fields []byte) []byte {
		fields[0]++ // a fixmap of 13 fields has room for two more
		fields = append(append(fields, 0xa0|byte(len(key))), key...)
		return append(fields, value...)
	}
}

// swapInits sends INIT and takes the subject's.
func (p *rawPeer) swapInits() {
	p.t.Helper()
	p.write(rawInit(1, 1))
	p.takeInit()
}

func (p *rawPeer) takeInit() {
	p.t.Helper()
	f := p.want(wire.TypeInit, "the handshake begins")
	i, err := wire.ParseInit(&f)
	if err != nil {
		p.t.Fatalf("the subject's INIT is malformed: %v", err)
	}
	p.init = i
}

// takeHello takes HELLO and PROOF, and answers those of an acceptor with READY.
func (p *rawPeer) takeHello() {
	p.t.Helper()
	f := p.want(wire.TypeHello, "the handshake goes on")
	h, err := wire.ParseHello(&f)
	if err != nil {
		p.t.Fatalf("the subject's HELLO is malformed: %v", err)
	}
	p.hello = h
	f = p.want(wire.TypeProof, "the handshake goes on")
	if _, err := wire.ParseProof(&f); err != nil {
		p.t.Fatalf("the subject's PROOF is malformed: %v", err)
	}
	if p.side == 0 {
		p.write(wire.AppendReady(nil))
		synctest.Wait() // the subject has a session
	}
}

// sayHello sends HELLO and PROOF. Where the subject has dialled it takes its
// READY.
func (p *rawPeer) sayHello(changes ...func(h *wire.Hello)) {
	p.t.Helper()
	p.write(p.helloBytes(changes...))
	p.write(rawProof())
	if p.side == 1 {
		p.want(wire.TypeReady, "the handshake is over")
	}
}

// handshake goes through the handshake, on either side.
func (p *rawPeer) handshake(changes ...func(h *wire.Hello)) {
	p.t.Helper()
	var own wire.Hello
	changes = append(changes, func(h *wire.Hello) { own = *h })
	if p.side == 0 {
		p.swapInits()
		p.sayHello(changes...)
		p.takeHello()
	} else {
		p.takeInit()
		p.write(rawInit(1, 1))
		p.takeHello()
		p.sayHello(changes...)
	}
	p.sums = (own.Features|p.hello.Features)&wire.FeatureChecksum != 0
}

// id names a call that the raw peer makes.
func (p *rawPeer) id(slot, generation uint32) wire.CallID {
	return wire.MakeCallID(generation, slot, p.side)
}

func (p *rawPeer) request(slot, generation uint32, handler string, payload []byte) []byte {
	return wire.AppendRequest(nil, p.id(slot, generation), rawHash(handler), 0, 0, payload)
}

// requestStart begins a request of size bytes.
func (p *rawPeer) requestStart(slot, generation uint32, handler string, size uint64, part []byte) []byte {
	return wire.AppendRequestStart(nil, p.id(slot, generation), rawHash(handler), 0, 0, size, part)
}

func (p *rawPeer) part(slot, generation uint32, part []byte) []byte {
	return wire.AppendFragment(nil, p.id(slot, generation), part)
}

// called makes the subject call and returns the id of the call.
func (p *rawPeer) called() (wire.CallID, <-chan reply) {
	p.t.Helper()
	answer := p.r.call(p.t.Context(), []byte("question"))
	return p.want(wire.TypeRequest, "the subject calls").ID, answer
}

// toldTransport changes what links say of themselves.
type toldTransport struct {
	transport.Transport
	change func(info *transport.Info)
}

type toldListener struct {
	transport.Listener
	change func(info *transport.Info)
}

type toldConn struct {
	transport.Conn
	change func(info *transport.Info)
}

func (t toldTransport) Dial(ctx context.Context, to transport.Peer) (transport.Conn, error) {
	tc, err := t.Transport.Dial(ctx, to)
	if err != nil {
		return nil, err
	}
	return toldConn{tc, t.change}, nil
}

func (t toldTransport) Listen(ctx context.Context, addr string) (transport.Listener, error) {
	ln, err := t.Transport.Listen(ctx, addr)
	return toldListener{ln, t.change}, err
}

func (l toldListener) Accept(ctx context.Context) (transport.Conn, error) {
	tc, err := l.Listener.Accept(ctx)
	if err != nil {
		return nil, err
	}
	return toldConn{tc, l.change}, nil
}

func (c toldConn) Info() transport.Info {
	info := c.Conn.Info()
	c.change(&info)
	return info
}

// rawBubble runs a test in a bubble.
func rawBubble(t *testing.T, name string, test func(t *testing.T)) {
	t.Helper()
	t.Run(name, func(t *testing.T) { synctest.Test(t, test) })
}

// rawTest is rawBubble with a cluster.
func rawTest(t *testing.T, name string, setup rawSetup, test func(t *testing.T, r *rawCluster)) {
	t.Helper()
	rawBubble(t, name, func(t *testing.T) { test(t, newRawCluster(t, setup)) })
}

func sha256Of(b []byte) [wire.DigestSize]byte { return sha256.Sum256(b) }
