package lab

import (
	"encoding/binary"
	"hash/crc32"
	"testing/synctest"

	"github.com/gridmux/gridmux/core/internal/wire"
)

// OwnHello is a HELLO that the subject accepts.
func (p *RawPeer) OwnHello() wire.Hello {
	return wire.Hello{
		Cluster:  RawClusterName,
		From:     p.Cluster.Name,
		To:       SubjectName,
		Instance: [wire.InstanceSize]byte{9, 9, 9},
		MaxFrame: wire.MinMaxFrame,
		MaxMsg:   1 << 30,
		MaxCalls: 1 << 20,
		Window:   wire.DefaultWindow,
	}
}

// HelloBytes returns a HELLO that is changed as asked.
func (p *RawPeer) HelloBytes(changes ...func(h *wire.Hello)) []byte {
	h := p.OwnHello()
	for _, change := range changes {
		change(&h)
	}
	return wire.AppendHello(nil, &h)
}

// HelloWith returns a HELLO with the body's map changed, and its length and
// checksum made to fit.
func (p *RawPeer) HelloWith(change func(fields []byte) []byte) []byte {
	b := p.HelloBytes()
	fields := change(b[wire.HeaderSize : len(b)-4])
	sum := crc32.Checksum(fields, crc32.MakeTable(crc32.Castagnoli))
	return RawFrame(wire.Frame{Type: wire.TypeHello, Body: binary.LittleEndian.AppendUint32(fields, sum)})
}

// HelloField is a change for HelloWith that appends one field, whose value is
// encoded already.
func HelloField(key string, value ...byte) func(fields []byte) []byte {
	return func(fields []byte) []byte {
		fields[0]++ // a fixmap of 13 fields has room for two more
		fields = append(append(fields, 0xa0|byte(len(key))), key...)
		return append(fields, value...)
	}
}

// SwapInits sends INIT and takes the subject's.
func (p *RawPeer) SwapInits() {
	p.T.Helper()
	p.Write(RawInit(1, 1))
	p.TakeInit()
}

// TakeInit takes the INIT of the subject.
func (p *RawPeer) TakeInit() {
	p.T.Helper()
	f := p.Want(wire.TypeInit, "the handshake begins")
	i, err := wire.ParseInit(&f)
	if err != nil {
		p.T.Fatalf("the subject's INIT is malformed: %v", err)
	}
	p.Init = i
}

// TakeHello takes HELLO and PROOF, and answers those of an acceptor with READY.
func (p *RawPeer) TakeHello() {
	p.T.Helper()
	f := p.Want(wire.TypeHello, "the handshake goes on")
	h, err := wire.ParseHello(&f)
	if err != nil {
		p.T.Fatalf("the subject's HELLO is malformed: %v", err)
	}
	p.Hello = h
	f = p.Want(wire.TypeProof, "the handshake goes on")
	if _, err := wire.ParseProof(&f); err != nil {
		p.T.Fatalf("the subject's PROOF is malformed: %v", err)
	}
	if p.Side == 0 {
		p.Write(wire.AppendReady(nil))
		synctest.Wait() // the subject has a session
	}
}

// SayHello sends HELLO and PROOF. Where the subject has dialled it takes its
// READY.
func (p *RawPeer) SayHello(changes ...func(h *wire.Hello)) {
	p.T.Helper()
	p.Write(p.HelloBytes(changes...))
	p.Write(RawProof())
	if p.Side == 1 {
		p.Want(wire.TypeReady, "the handshake is over")
	}
}

// Handshake goes through the handshake, on either side. HELLO is changed as
// asked.
func (p *RawPeer) Handshake(changes ...func(h *wire.Hello)) {
	p.T.Helper()
	var own wire.Hello
	changes = append(changes, func(h *wire.Hello) { own = *h })
	if p.Side == 0 {
		p.SwapInits()
		p.SayHello(changes...)
		p.TakeHello()
	} else {
		p.TakeInit()
		p.Write(RawInit(1, 1))
		p.TakeHello()
		p.SayHello(changes...)
	}
	p.Said = own
	p.mu.Lock()
	defer p.mu.Unlock()
	p.Sums = (own.Features|p.Hello.Features)&wire.FeatureChecksum != 0
}

// DeafHandshake shakes hands and reads nothing after it, until Allow.
func (p *RawPeer) DeafHandshake() {
	p.T.Helper()
	synctest.Wait()
	// The reader is in its first read already, which brings INIT; HELLO and
	// PROOF follow.
	p.Allow(2)
	p.Handshake()
}
