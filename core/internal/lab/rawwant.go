package lab

import (
	"encoding/binary"
	"errors"
	"testing/synctest"

	"github.com/gridmux/gridmux/core/internal/wire"
	"github.com/gridmux/gridmux/transport"
)

// Next returns the next frame that has arrived, if any, after everybody has
// done what there was to do. It passes over PADDING, which is what a sender has
// taken back, and unless Flow is set over ACK and GRANT, which come beside
// whatever is large.
func (p *RawPeer) Next() (f wire.Frame, ok bool) {
	p.T.Helper()
	synctest.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	for !ok || p.passesOver(f.Type) {
		for len(p.rest) == 0 {
			if len(p.batches) == 0 {
				return f, false
			}
			p.rest, p.batches = p.batches[0], p.batches[1:]
			if p.Sums {
				if p.rest, ok = wire.CheckBatch(p.rest); !ok {
					p.T.Fatal("the subject sent a batch whose checksum does not match")
				}
			}
		}
		var err error
		if f, p.rest, err = wire.Next(p.rest); err != nil {
			p.T.Fatalf("the subject sent what is no frame: %v", err)
		}
		ok = true
	}
	return f, true
}

func (p *RawPeer) passesOver(t wire.Type) bool {
	return t == wire.TypePadding || !p.Flow && (t == wire.TypeMark || t == wire.TypeAck || t == wire.TypeGrant)
}

// Want returns the next frame, which has to be of the type.
func (p *RawPeer) Want(typ wire.Type, sentence string) wire.Frame {
	p.T.Helper()
	f, ok := p.Next()
	switch {
	case !ok:
		p.T.Fatalf("%s: nothing arrived, want %v; the connection's end: %v", sentence, typ, p.Ended())
	case f.Type != typ:
		p.T.Fatalf("%s: got %v %v with %q, want %v", sentence, f.Type, f.ID, f.Body, typ)
	}
	return f
}

// WantStatus is want for a frame that carries a status with the code.
func (p *RawPeer) WantStatus(typ wire.Type, code wire.Code, sentence string) wire.Status {
	p.T.Helper()
	f := p.Want(typ, sentence)
	st, err := wire.ParseStatus(&f)
	if err != nil || st.Code != code {
		p.T.Fatalf("%s: got %v with code %d and message %q, %v; want code %d", sentence, typ, st.Code, st.Message, err, code)
	}
	return st
}

// WantIdle holds that nothing more has arrived on a connection that lives.
func (p *RawPeer) WantIdle(sentence string) {
	p.T.Helper()
	if f, ok := p.Next(); ok {
		p.T.Fatalf("%s: got %v %v with %q, want silence", sentence, f.Type, f.ID, f.Body)
	}
	if err := p.Ended(); err != nil {
		p.T.Fatalf("%s: the connection ended: %v; want it to live", sentence, err)
	}
}

// WantClosed holds that the subject has closed the connection with the code and
// sent nothing else before, and returns its reason.
func (p *RawPeer) WantClosed(code wire.Code, sentence string) string {
	p.T.Helper()
	if f, ok := p.Next(); ok {
		p.T.Fatalf("%s: got %v %v with %q, want the end with code %d", sentence, f.Type, f.ID, f.Body, code)
	}
	err := p.Ended()
	closed, ok := errors.AsType[*transport.CloseError](err)
	if !ok || closed.Code != uint32(code) {
		p.T.Fatalf("%s: the connection's end is: %v; want close code %d", sentence, err, code)
	}
	return closed.Reason
}

// WantLife holds that the session goes on: a ping is answered, and then a call in
// the slot.
func (p *RawPeer) WantLife(slot uint32, sentence string) {
	p.T.Helper()
	p.Send(wire.AppendPing(nil, wire.TypePing, 77))
	if f := p.Want(wire.TypePong, sentence+", then a PING"); binary.LittleEndian.Uint64(f.Body) != 77 {
		p.T.Fatalf("%s: PONG returned another value", sentence)
	}
	p.Send(p.Request(slot, 1<<31, "echo", []byte("life")))
	if f := p.Want(wire.TypeResponse, sentence+", then a call"); string(f.Body) != "life" {
		p.T.Fatalf("%s: an echo returned %q", sentence, f.Body)
	}
	p.WantIdle(sentence)
}

// Drain takes the frames of a type that have arrived, and returns their number.
func (p *RawPeer) Drain(typ wire.Type) (n int) {
	p.T.Helper()
	for f, ok := p.Next(); ok; f, ok = p.Next() {
		if f.Type != typ {
			p.T.Fatalf("got %v %v with %q, want nothing but %v", f.Type, f.ID, f.Body, typ)
		}
		n++
	}
	return n
}

// WantRejected holds an acceptor to W57: a stranger learns code 20 and nothing
// else, in REJECT and in the end of the connection.
func (p *RawPeer) WantRejected(sentence string) {
	p.T.Helper()
	if st := p.WantStatus(wire.TypeReject, wire.CodeRejected, sentence); st.Message != "" {
		p.T.Errorf("%s: a stranger was told %q, want no word", sentence, st.Message)
	}
	if reason := p.WantClosed(wire.CodeRejected, sentence); reason != "" {
		p.T.Errorf("%s: a stranger was told %q in the end, want no word", sentence, reason)
	}
}
