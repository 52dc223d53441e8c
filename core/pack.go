package core

import (
	"errors"
	"maps"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gridmux/gridmux/core/internal/wire"
)

const (
	// smallPlain is the size below which a message is not compressed without a
	// dictionary, and smallDict with one.
	smallPlain = 512
	smallDict  = 64
	// dictUpTo is the size up to which a dictionary is used: what is larger repeats
	// enough of itself.
	dictUpTo = 16 << 10
	// worthShare is the part of a message, one in so many, that compressing it has to
	// save: what is hardly smaller costs its receiver more than it saves.
	worthShare = 16
	// missesInRow is how many messages in a row may not be worth it before some are
	// sent without trying: firstSkip at first, then twice as many after each that is
	// tried in vain, up to lastSkip.
	missesInRow = 4
	firstSkip   = 8
	lastSkip    = 128
	// expansion is the room that a Compressor has besides the size of the message,
	// and a share of it, for what it does not make smaller.
	expansion      = 32
	expansionShare = 16 << 10
	// decodeSlack is the room that a Compressor has behind a decoded message that is
	// larger: some write whole blocks.
	decodeSlack = 128 << 10
	// Of messages below timedSize, but for the first few, the time is taken for one in
	// timedShare.
	timedSize  = 4 << 10
	timedShare = 64
	// alwaysTimed is how many the first few are.
	alwaysTimed = 16
)

// packed says how a message is compressed: by the numbers of its receiver. The zero
// value is one that is not.
type packed struct {
	codec, dict uint8
	bytes       uint32 // once decoded
}

// size is how many bytes the message has once decoded.
func (p packed) size() int { return int(min(p.bytes, math.MaxInt32)) }

// packedOf is how the message is compressed that a frame begins. What no message can
// have becomes the largest size.
func packedOf(f *wire.Frame, decoded uint64) packed {
	if f.Codec == 0 {
		return packed{}
	}
	return packed{f.Codec, f.Dict, uint32(min(decoded, math.MaxInt32))}
}

// weight is the decoded size of a message that has n bytes as it is sent.
func (p packed) weight(n int) int {
	if p.codec == 0 {
		return n
	}
	return p.size()
}

// cost is the credit that a message of n bytes takes, as it is sent, from a window.
// One that is larger once decoded takes all of it, since memory is reserved for what
// it becomes.
func (p packed) cost(n, window int) int {
	if p.weight(n) > window {
		return window
	}
	return n
}

// body returns the message without the room for its decoded size, which only a
// message in one frame has.
func (p packed) body(b []byte) []byte {
	if p.codec == 0 {
		return b
	}
	return b[wire.DecodedSize:]
}

// mark makes the frame that begins at b[at:], and ends b, one of a compressed
// message, if it is one.
func (p packed) mark(b []byte, at int) {
	if p.codec != 0 {
		wire.SetCodec(b[at:], p.codec, p.dict, uint64(p.bytes))
	}
}

// packer compresses the messages of one end of a call. The zero value does not.
type packer struct {
	with      *compressor
	threshold int32 // 0: the default
	flow      *flow
	window    bool // the messages of a stream shall share one
	// ahead is the wish of a stream's caller that was not known by then. It is looked up
	// at each message; with is what else compresses, which may be nil.
	ahead wire.Accept
}

// flow is what compression does for the messages of a handler in one direction, on
// this node. It also decides which ones are tried.
type flow struct {
	out, in packCounts

	small, incompressible, sampled, unsupported, failed atomic.Int64

	misses atomic.Int32 // tries in a row that were in vain
	skip   atomic.Int32 // messages that are not tried yet
}

// packCounts counts messages.
type packCounts struct {
	// recent has in one word what small messages add to the others, since one atomic
	// operation for each of them is noticed less than three: how many there are, and
	// their bytes without compression and with it.
	recent atomic.Uint64

	mu                             sync.Mutex // guards moving from recent to the others
	messages, plain, packed, nanos atomic.Int64
}

const (
	// A message is small for recent if it has fewer bytes than this in either form.
	recentSize = 4 << 10
	// The two sums of bytes have recentBits each, and the count has the rest. They are
	// moved when there are recentCount messages, with which the sums are half full: the
	// other half is for those who add at the same moment, another recentCount of them.
	recentBits  = 25
	recentMask  = 1<<recentBits - 1
	recentCount = 1 << (recentBits - 1) / recentSize
)

func (c *packCounts) add(plain, packed int) {
	if max(plain, packed) >= recentSize {
		c.messages.Add(1)
		c.plain.Add(int64(plain))
		c.packed.Add(int64(packed))
		return
	}
	v := c.recent.Add(1<<(2*recentBits) | uint64(plain)<<recentBits | uint64(packed))
	if v>>(2*recentBits) >= recentCount {
		c.mu.Lock()
		c.settle()
		c.mu.Unlock()
	}
}

// settle adds what is in recent to the others. c.mu is held.
func (c *packCounts) settle() {
	v := c.recent.Swap(0)
	c.messages.Add(int64(v >> (2 * recentBits)))
	c.plain.Add(int64(v >> recentBits & recentMask))
	c.packed.Add(int64(v & recentMask))
}

// count is how many messages there are, more or less.
func (c *packCounts) count() int64 {
	return c.messages.Load() + int64(c.recent.Load()>>(2*recentBits))
}

// due reports whether the next message is to be tried.
func (f *flow) due() bool {
	return f.skip.Load() <= 0 || f.skip.Add(-1) < 0
}

// tried notes whether a message was worth it.
func (f *flow) tried(worth bool) {
	if worth {
		if f.misses.Load() != 0 {
			f.misses.Store(0)
			f.skip.Store(0)
		}
		return
	}
	if n := f.misses.Add(1); n >= missesInRow {
		f.skip.Store(min(int32(firstSkip)<<min(n-missesInRow, 8), lastSkip))
	}
}

// clock begins to take the time for a message of n bytes, when count were counted
// before. weight is how many messages it stands for, 0 if the time is not taken. Which
// ones are taken is left to chance: count stands still while tries are in vain.
func clock(n int, count int64) (began time.Time, weight int64) {
	switch {
	case n >= timedSize || count <= alwaysTimed:
		weight = 1
	case rand.Uint32()%timedShare == 0:
		weight = timedShare
	default:
		return began, 0
	}
	return time.Now(), weight
}

func (c *packCounts) took(began time.Time, weight int64) {
	if weight > 0 {
		c.nanos.Add(int64(time.Since(began)) * weight)
	}
}

// pack compresses a message for the peer. The result stands in a buffer, for the
// caller to put back, behind room for its decoded size. It is nil if the message is
// sent as it is, and if nobody wanted it any more when its turn came.
func (s *session) pack(p *packer, src []byte, until patience) (*buffer, packed) {
	n := len(src)
	if n < smallDict && p.threshold == 0 || n < int(p.threshold) || n == 0 {
		p.flow.small.Add(1)
		return nil, packed{}
	}
	peer := s.root.peerCodecs.Load()
	how := packed{codec: peer.number(p.with.name), bytes: uint32(n)}
	if how.codec == 0 {
		p.flow.unsupported.Add(1)
		return nil, packed{}
	}
	var id uint64
	if n <= dictUpTo && len(p.with.ids) > 0 {
		how.dict, id = peer.dictionary(how.codec, p.with.ids)
	}
	switch {
	case n < smallPlain && p.threshold == 0 && id == 0:
		p.flow.small.Add(1)
		return nil, packed{}
	case !p.flow.due():
		p.flow.sampled.Add(1)
		return nil, packed{}
	}
	if n > turnFrom {
		if !s.m.takeTurn(s.m.packing, until) {
			return nil, packed{}
		}
		defer s.m.packing.leave()
	}
	began, weight := clock(n, p.flow.out.count())
	buf := getBrief(wire.DecodedSize + n + n/expansionShare + expansion)
	out := p.with.encode(buf.b[:wire.DecodedSize], src, id)
	p.flow.out.took(began, weight)
	worth := worthIt(len(out), n)
	p.flow.tried(worth)
	if !worth {
		p.flow.incompressible.Add(1)
		buf.put()
		return nil, packed{}
	}
	if sameMemory(out, buf.b) {
		buf.b = out
	} else {
		// What has grown is not known to be ours to recycle.
		buf.b = append(buf.b[:0], out...)
	}
	p.flow.out.add(n, len(out)-wire.DecodedSize)
	return buf, how
}

// least is the size below which no message is compressed, with that threshold.
func (c *compressor) least(threshold int32) int {
	switch {
	case threshold != 0:
		return int(threshold)
	case len(c.ids) > 0:
		return smallDict
	default:
		return smallPlain
	}
}

// worthIt reports whether a message of plain bytes is better sent as the out bytes
// of encode, among them the room for its decoded size. A message in parts has two
// bytes at least.
func worthIt(out, plain int) bool {
	return out >= wire.DecodedSize+2 && out < plain-plain/worthShare
}

// errNotWanted is why a message is not restored that has waited for its turn.
var errNotWanted = errors.New("nobody wants the message any more")

// unpack appends to dst what a message is the compressed form of. On failure it
// returns dst as it was.
func (m *Manager) unpack(dst, src []byte, how packed, f *flow, until patience) ([]byte, error) {
	with, id, err := m.codecs.set.Load().decoder(how.codec, how.dict)
	if err != nil {
		f.failed.Add(1)
		return dst, malformedMessage(err)
	}
	if how.size() > turnFrom {
		if !m.takeTurn(m.unpacking, until) {
			return dst, errNotWanted
		}
		defer m.unpacking.leave()
	}
	began, weight := clock(how.size(), f.in.count())
	out, err := with.decode(dst, src, id, how.size())
	if err != nil {
		f.failed.Add(1)
		return dst, malformedMessage(err)
	}
	f.in.took(began, weight)
	f.in.add(how.size(), len(src))
	return out, nil
}

// unpackOwn is unpack into memory of the library. buf holds it, for the caller to
// put back; it is nil if the memory is the Compressor's.
func (m *Manager) unpackOwn(src []byte, how packed, f *flow, until patience) (out []byte, buf *buffer, err error) {
	return inOwn(how, func(dst []byte) ([]byte, error) { return m.unpack(dst, src, how, f, until) })
}

// inOwn has a message restored into memory of the library, as unpackOwn does.
func inOwn(how packed, unpack func(dst []byte) ([]byte, error)) (out []byte, buf *buffer, err error) {
	size := how.size()
	if size > decodeSlack {
		size += decodeSlack
	}
	buf = getBrief(size)
	if out, err = unpack(buf.b); err != nil {
		buf.put()
		return nil, nil, err
	}
	if !sameMemory(out, buf.b) {
		buf.put()
		return out, nil, nil
	}
	buf.b = out
	return out, buf, nil
}

// flowTable finds the flows of handlers. Readers take no lock.
type flowTable struct {
	mu sync.Mutex
	m  atomic.Pointer[map[uint64]*handlerFlows] // by the hash of the key
}

// handlerFlows are those of one handler, in both directions.
type handlerFlows struct {
	key  handlerKey
	dirs [directions]flow
}

// maxFlows bounds how many handlers are counted apart, since routes may be made from
// data. All others are counted together, as one without an id.
const maxFlows = 4096

func (t *flowTable) of(key handlerKey, hash uint64, dir int) *flow {
	return &t.both(key, hash).dirs[dir]
}

func (t *flowTable) both(key handlerKey, hash uint64) *handlerFlows {
	if m := t.m.Load(); m != nil {
		if f := (*m)[hash]; f != nil {
			return f
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	next := map[uint64]*handlerFlows{}
	if old := t.m.Load(); old != nil {
		if len(*old) >= maxFlows {
			key = handlerKey{}
			hash = key.hash()
		}
		if f := (*old)[hash]; f != nil {
			return f
		}
		maps.Copy(next, *old)
	}
	f := &handlerFlows{key: key}
	next[hash] = f
	t.m.Store(&next)
	return f
}
