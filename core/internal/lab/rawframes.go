package lab

import (
	"crypto/sha256"
	"encoding/binary"

	"github.com/gridmux/gridmux/core/internal/wire"
)

// RawFrame returns the bytes of any frame, be it valid or not.
func RawFrame(f wire.Frame) []byte {
	b := binary.LittleEndian.AppendUint32(nil, uint32(len(f.Body)))
	b = append(b, byte(f.Type), byte(f.Flags), f.Codec, f.Dict)
	b = binary.LittleEndian.AppendUint64(b, uint64(f.ID))
	return append(b, f.Body...)
}

// RawInit returns an INIT with those versions.
func RawInit(lowest, highest uint8) []byte {
	return wire.AppendInit(nil, &wire.Init{MinVersion: lowest, MaxVersion: highest, Nonce: [wire.NonceSize]byte{1, 2, 3}})
}

// RawProof returns a PROOF. The nodes of these tests look at none.
func RawProof() []byte { return wire.AppendProof(nil, nil) }

// HandlerHash is the rule of W25, written down once more, for a handler without a
// route.
func HandlerHash(id string) uint64 {
	sum := sha256.Sum256([]byte(id + "\x00"))
	return binary.LittleEndian.Uint64(sum[:8])
}

// RawStatus returns a frame of any type that carries a status.
func RawStatus(t wire.Type, id wire.CallID, code wire.Code) []byte {
	return wire.AppendStatus(nil, t, id, wire.Status{Code: code, Message: "the raw peer says so"})
}

// ID names a call that the raw peer makes. A slot has every generation once.
func (p *RawPeer) ID(slot, generation uint32) wire.CallID {
	return wire.MakeCallID(generation, slot, p.Side)
}

// TheirID names a call that the subject makes, or may make.
func (p *RawPeer) TheirID(slot uint32) wire.CallID {
	return wire.MakeCallID(1, slot, 1-p.Side)
}

// Request returns a REQUEST that is complete.
func (p *RawPeer) Request(slot, generation uint32, handler string, payload []byte) []byte {
	return wire.AppendRequest(nil, p.ID(slot, generation), HandlerHash(handler), 0, 0, payload)
}

// RequestStart returns the frame that begins a request of size bytes.
func (p *RawPeer) RequestStart(slot, generation uint32, handler string, size uint64, part []byte) []byte {
	return wire.AppendRequestStart(nil, p.ID(slot, generation), HandlerHash(handler), 0, 0, size, part)
}

// Fragment returns the next part of a request.
func (p *RawPeer) Fragment(slot, generation uint32, part []byte) []byte {
	return wire.AppendFragment(nil, p.ID(slot, generation), part)
}

// Packed returns the frame with a message that is said to be compressed: by codec
// and dictionary of those numbers, to so many bytes. The frame begins a message, and
// has no metadata. Of one without FRAGMENTED the payload begins with 4 bytes for that size.
func Packed(frame []byte, codec, dict uint8, decoded uint64) []byte {
	wire.SetCodec(frame, codec, dict, decoded)
	return frame
}

// PackedSize is the room that Packed needs before the message.
var PackedSize = make([]byte, wire.DecodedSize)

// Called makes the subject call, takes its REQUEST, and returns the id of the
// call.
func (p *RawPeer) Called() (wire.CallID, <-chan Reply) {
	p.T.Helper()
	answer := p.Cluster.Call(p.T.Context(), []byte("question"))
	return p.Want(wire.TypeRequest, "the subject calls").ID, answer
}

// Once makes a call of an echo that is answered.
func (p *RawPeer) Once(slot, generation uint32) {
	p.T.Helper()
	p.Send(p.Request(slot, generation, "echo", nil))
	p.Want(wire.TypeResponse, "a first call is in order")
}
