package sim_test

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/internal/wire"
)

// hashOf is the name of a handler on the wire (W25).
func hashOf(id core.HandlerID) uint64 {
	sum := sha256.Sum256([]byte(string(id) + "\x00"))
	return binary.LittleEndian.Uint64(sum[:])
}

var (
	rogueTalkHash = hashOf(hRogueTalk)
	catalogueHash = hashOf("gridmux.catalogue")
)

// planRogueTalks draws what an honest node wants from the rogue meanwhile.
func planRogueTalks(g *generator, e *event) {
	s := g.talk(g.p.nodes)
	s.wait, s.payload = true, min(s.payload, 300)
	if s.end == endNever {
		s.end, s.after = endTimeout, odd(longestVisit/2)
	}
	e.talk = s
}

// listen reads what the node says, answers what the rogue has handlers for, and
// notes which streams the node opens.
func (v *visit) listen() {
	for {
		b, err := v.tc.ReadFrame(1 << 20)
		if err != nil {
			return
		}
		if v.w.p.plain && len(b) >= wire.ChecksumSize {
			b = b[wire.ChecksumSize:]
		}
		for len(b) > 0 {
			var f wire.Frame
			if f, b, err = wire.Next(b); err != nil {
				break
			}
			v.hears(&f)
		}
	}
}

func (v *visit) hears(f *wire.Frame) {
	switch f.Type {
	case wire.TypePing:
		if value, err := wire.ParsePing(f); err == nil {
			_ = v.write(wire.AppendPing(nil, wire.TypePong, value))
		}
	case wire.TypeRequest:
		if r, err := wire.ParseRequest(f); err == nil && r.Handler == catalogueHash {
			_ = v.write(wire.AppendResponse(nil, f.ID, v.catalogue()))
		}
	case wire.TypeOpen:
		v.mu.Lock()
		defer v.mu.Unlock()
		v.asked = append(v.asked, f.ID)
	default:
	}
}

// catalogue is which handlers the rogue says that it has (W54).
func (v *visit) catalogue() (b []byte) {
	for i := range talkHandlers {
		h := &talkHandlers[i]
		in, out := h.capacities(v.w.p)
		b = append(binary.LittleEndian.AppendUint64(b, hashOf(h.id)), 2)
		b = binary.LittleEndian.AppendUint32(b, uint32(in))
		b = binary.LittleEndian.AppendUint32(b, uint32(out))
	}
	return b
}

// streamFrames returns frames of a stream: some are valid, most of the others end
// no more than the stream.
func (v *visit) streamFrames(payload []byte) []byte {
	r := v.r
	v.mu.Lock()
	defer v.mu.Unlock()
	of := &v.own
	if asked := len(v.asked) > 0 && r.IntN(2) == 0; asked {
		of = &v.asked
	} else if len(v.own) == 0 || r.IntN(3) == 0 {
		return v.openStream(payload)
	}
	at := r.IntN(len(*of))
	id := (*of)[at]
	leave := func() { *of = slices.Delete(*of, at, at+1) } // nothing more of it fits
	switch n := r.IntN(24); n {
	case 0: // too many messages, at once
		var b []byte
		for range 1 + r.IntN(100) {
			b = wire.AppendData(b, id, payload)
		}
		return b
	case 1: // too many bytes
		return wire.AppendData(nil, id, make([]byte, r.IntN(100<<10)))
	case 2, 3: // one in parts, of which the last may never come
		size := len(payload) + 1 + r.IntN(100<<10)
		b := wire.AppendDataStart(nil, id, uint64(size), payload)
		if rest := size - len(payload); rest < 32<<10 {
			return wire.AppendFragment(b, id, make([]byte, rest))
		}
		leave()
		return wire.AppendFragment(b, id, payload)
	case 4, 5: // too much credit
		return wire.AppendCredit(nil, id, 1+uint32(r.IntN(200)), r.Uint32())
	case 6, 7, 8: // some credit
		return wire.AppendCredit(nil, id, 1, uint32(r.IntN(1000)))
	case 9:
		leave()
		return wire.AppendEnd(nil, id)
	case 10, 11, 12:
		return v.end(id, leave)
	case 13:
		return v.unfit(id, payload)
	case 14, 15:
		return v.overdraw()
	default:
		return wire.AppendData(nil, id, payload[:len(payload)/(1+r.IntN(40))])
	}
}

// openStream opens a stream, in a slot whose last one it ends.
func (v *visit) openStream(payload []byte) []byte {
	id := v.rise()
	v.own = slices.DeleteFunc(v.own, func(old wire.CallID) bool { return old.Slot() == id.Slot() })
	v.own = append(v.own, id)
	return wire.AppendOpen(nil, id, rogueTalkHash, uint64(v.r.IntN(2e6)), 1+uint32(v.r.IntN(70)), 0, payload)
}

// overdraw opens a stream whose handler takes nothing, and sends one message more
// than it has credit for.
func (v *visit) overdraw() []byte {
	id := v.rise()
	v.own = slices.DeleteFunc(v.own, func(old wire.CallID) bool { return old.Slot() == id.Slot() })
	b := wire.AppendOpen(nil, id, rogueTalkHash, uint64(v.r.IntN(2e6)), 1, 0, []byte{rogueStops})
	for range v.w.p.capacity[0] + 1 {
		b = wire.AppendData(b, id, nil)
	}
	return b
}

// end ends a stream, by RESET or by an answer.
func (v *visit) end(id wire.CallID, leave func()) []byte {
	leave()
	status := wire.Status{Code: wire.Code(v.r.IntN(6)), Message: "the rogue"}
	switch {
	case id.Side() == 0:
		return wire.AppendStatus(nil, wire.TypeReset, id, status)
	case v.r.IntN(2) == 0:
		return wire.AppendResponse(nil, id, nil)
	default:
		return wire.AppendStatus(nil, pick(v.r, wire.TypeError, wire.TypeRefused), id, status)
	}
}

// unfit returns what is against the protocol.
func (v *visit) unfit(id wire.CallID, payload []byte) []byte {
	switch v.r.IntN(5) {
	case 0:
		return wire.AppendGrant(nil, id)
	case 1:
		return wire.AppendFragment(nil, id, payload)
	case 2:
		return wire.AppendEnd(wire.AppendEnd(nil, id), id)
	case 3: // an id for the second time
		return wire.AppendOpen(nil, id, rogueTalkHash, 0, 1, 0, payload)
	default: // of a call that nobody has made
		return wire.AppendCredit(nil, wire.MakeCallID(id.Generation()+1000, id.Slot(), id.Side()), 1, 1)
	}
}

// rise returns the id of another call of the rogue.
func (v *visit) rise() wire.CallID {
	slots := uint32(8)
	if limit := v.w.p.limits.MaxCalls; limit > 0 {
		slots = min(slots, uint32(limit))
	}
	v.next++
	return wire.MakeCallID(v.next/slots+6, v.next%slots, 0)
}
