package lab

import (
	"bytes"

	"github.com/gridmux/gridmux/core/internal/wire"
)

// Open returns an OPEN that is complete. capacity is how many messages the
// callee may have under way.
func (p *RawPeer) Open(slot, generation uint32, handler string, capacity uint32, payload []byte) []byte {
	return wire.AppendOpen(nil, p.ID(slot, generation), HandlerHash(handler), 0, capacity, 0, payload)
}

// OpenStart returns the frame that begins an OPEN whose payload has size bytes.
func (p *RawPeer) OpenStart(slot, generation uint32, handler string, capacity uint32, size uint64, part []byte) []byte {
	return wire.AppendOpenStart(nil, p.ID(slot, generation), HandlerHash(handler), 0, capacity, 0, size, part)
}

// Ack acknowledges the paced bytes of all frames that the test has taken (W44).
func (p *RawPeer) Ack() {
	p.T.Helper()
	p.Send(wire.AppendAck(nil, p.paced))
}

// Paced returns how many paced bytes (W44) the frames have that the test has
// taken.
func (p *RawPeer) Paced() uint64 { return p.paced }

// Message returns the whole message that begins with a RESPONSE, REQUEST, OPEN
// or DATA that the test has taken: it grants it, takes the FRAGMENTs that
// follow, and acknowledges them.
func (p *RawPeer) Message(f *wire.Frame) []byte {
	p.T.Helper()
	size, payload := p.parse(f)
	message := bytes.Clone(payload)
	if f.Flags&wire.FlagFragmented == 0 {
		return message
	}
	p.Send(wire.AppendGrant(nil, f.ID))
	for uint64(len(message)) < size {
		p.Ack()
		next := p.Want(wire.TypeFragment, "a message in parts goes on")
		if next.ID != f.ID {
			p.T.Fatalf("a part of %v came in a message of %v", next.ID, f.ID)
		}
		message = append(message, next.Body...)
	}
	p.Ack()
	return message
}

// parse returns the size of the message that a frame begins, and its first part.
func (p *RawPeer) parse(f *wire.Frame) (size uint64, payload []byte) {
	p.T.Helper()
	var err error
	switch f.Type {
	case wire.TypeRequest:
		var r wire.Request
		r, err = wire.ParseRequest(f)
		size, payload = r.Size, r.Payload
	case wire.TypeOpen:
		var o wire.Open
		o, err = wire.ParseOpen(f)
		size, payload = o.Size, o.Payload
	case wire.TypeData:
		var d wire.Data
		d, err = wire.ParseData(f)
		size, payload = d.Size, d.Payload
	default:
		var r wire.Response
		r, err = wire.ParseResponse(f)
		size, payload = r.Size, r.Payload
	}
	if err != nil {
		p.T.Fatalf("the subject sent a malformed %v: %v", f.Type, err)
	}
	return size, payload
}
