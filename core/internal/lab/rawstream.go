package lab

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"testing/synctest"

	"github.com/gridmux/gridmux/core/internal/wire"
)

// RawEntry is a handler in the catalogue of the raw peer (W54).
type RawEntry struct {
	ID      string
	Kind    byte   // 1: of single requests, 2: of streams
	In, Out uint32 // capacities, of streams
	Codec   byte   // number of that of requests, 0: none
}

// RawCatalogue returns the catalogue with those handlers.
func RawCatalogue(entries ...RawEntry) (b []byte) {
	entries = slices.Clone(entries)
	slices.SortFunc(entries, func(a, b RawEntry) int { return cmp.Compare(HandlerHash(a.ID), HandlerHash(b.ID)) })
	for _, e := range entries {
		b = append(binary.LittleEndian.AppendUint64(b, HandlerHash(e.ID)), e.Kind)
		b = binary.LittleEndian.AppendUint32(b, e.In)
		b = append(binary.LittleEndian.AppendUint32(b, e.Out), e.Codec)
	}
	return b
}

// CatalogueDigest is the digest of a catalogue (W54).
func CatalogueDigest(catalogue []byte) [wire.DigestSize]byte { return sha256.Sum256(catalogue) }

// ConnectServing is Reconnect for a peer that has handlers: the subject, which
// asks which these are, is told. HELLO is changed as asked.
func (r *RawCluster) ConnectServing(catalogue []byte, changes ...func(h *wire.Hello)) *RawPeer {
	r.T.Helper()
	changes = append(changes, func(h *wire.Hello) { h.Catalogue = CatalogueDigest(catalogue) })
	var p *RawPeer
	if r.Listener == nil {
		p = r.Dial()
	} else {
		p = r.Accept()
	}
	p.Handshake(changes...)
	p.TakeQuestion(catalogue)
	return p
}

// TakeQuestion takes the subject's request for the catalogue, and answers it.
func (p *RawPeer) TakeQuestion(catalogue []byte) {
	p.T.Helper()
	f := p.Want(wire.TypeRequest, "the subject asks for the catalogue")
	if req, err := wire.ParseRequest(&f); err != nil || req.Handler != HandlerHash("gridmux.catalogue") {
		p.T.Fatalf("the subject calls another handler than that of the catalogue: %v", err)
	}
	p.Send(wire.AppendResponse(nil, f.ID, catalogue))
	synctest.Wait()
}

// Open returns an OPEN that is complete. capacity is how many messages the
// callee may have under way.
func (p *RawPeer) Open(slot, generation uint32, handler string, capacity uint32, payload []byte) []byte {
	return wire.AppendOpen(nil, p.ID(slot, generation), HandlerHash(handler), 0, capacity, 0, payload)
}

// OpenStart returns the frame that begins an OPEN whose payload has size bytes.
func (p *RawPeer) OpenStart(slot, generation uint32, handler string, capacity uint32, size uint64, part []byte) []byte {
	return wire.AppendOpenStart(nil, p.ID(slot, generation), HandlerHash(handler), 0, capacity, 0, size, part)
}

// Message returns the whole message that begins with a RESPONSE, REQUEST, OPEN
// or DATA that the test has taken: it grants it where that is due, takes the
// FRAGMENTs that follow.
func (p *RawPeer) Message(f *wire.Frame) []byte {
	p.T.Helper()
	size, payload := p.parse(f)
	message := bytes.Clone(payload)
	if f.Flags&wire.FlagFragmented == 0 {
		return message
	}
	if f.Type != wire.TypeData || size > p.Said.Window {
		p.Send(wire.AppendGrant(nil, f.ID))
	}
	for uint64(len(message)) < size {
		next := p.Want(wire.TypeFragment, "a message in parts goes on")
		if next.ID != f.ID {
			p.T.Fatalf("a part of %v came in a message of %v", next.ID, f.ID)
		}
		message = append(message, next.Body...)
	}
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
