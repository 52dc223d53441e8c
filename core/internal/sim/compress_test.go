package sim_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"testing"

	"github.com/gridmux/gridmux/compress"
	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/internal/wire"
)

// compression is what nodes do with their messages. Each incarnation draws anew
// whether it takes part, so that nodes with and without, and with different codecs,
// meet, and change while others run.
type compression struct {
	codecs    []core.Compressor // nil: nobody compresses
	off       int               // one incarnation in so many takes no part; 0: all do
	threshold int               // 0: the default
	calls     bool              // some calls say themselves how they are compressed
	windows   bool              // the messages of some streams share windows
}

// Codecs of the simulation. Zstd makes a decoder for every message in a bubble, so it
// is seldom drawn.
var (
	rampCodec core.Compressor = windowedRamps{}
	s2Codec   core.Compressor = compress.S2()
	zstdCodec core.Compressor = compress.Zstd()
)

func newCompression(seed uint64) (c compression) {
	r := stream(seed, 5) // of its own source, which shifts no other
	switch r.IntN(16) {
	case 0:
		c.codecs = []core.Compressor{zstdCodec}
	case 1, 2:
		c.codecs = []core.Compressor{s2Codec}
	case 3, 4:
		c.codecs = []core.Compressor{rampCodec}
	case 5, 6, 7:
		c.codecs, c.off = []core.Compressor{rampCodec, s2Codec}, 3
	default:
		return c
	}
	if r.IntN(2) == 0 {
		c.threshold = 1 + r.IntN(200)
	}
	c.calls = r.IntN(2) == 0
	c.windows = r.IntN(2) == 0
	return c
}

// of returns the options of the handlers of an incarnation, those besides that those of
// streams have, and what else it decodes.
func (c *compression) of(seed uint64, node, incarnation int) (opts, ofStreams []core.HandlerOption, more []core.Compressor) {
	if c.codecs == nil {
		return nil, nil, nil
	}
	r := stream(seed, 1<<20+uint64(node)<<10+uint64(incarnation))
	if c.off > 0 && r.IntN(c.off) == 0 {
		return nil, nil, nil
	}
	codec := pick(r, c.codecs...)
	if c.windows {
		// Of its own source, which shifts no other.
		switch r := stream(seed, 1<<21+uint64(node)<<10+uint64(incarnation)); r.IntN(5) {
		case 0: // only as its callers ask
		case 1:
			if codec == rampCodec {
				codec = ramps{} // a node from before there were windows
			}
		default:
			ofStreams = append(ofStreams, core.WithSharedWindow())
		}
	}
	if c.threshold > 0 {
		opts = append(opts, core.WithCompressionThreshold(c.threshold))
	}
	switch r.IntN(4) {
	case 0:
		opts = append(opts, core.WithRequestCompression(codec))
	case 1:
		opts = append(opts, core.WithResponseCompression(codec))
	default:
		opts = append(opts, core.WithCompression(codec))
	}
	if r.IntN(2) == 0 {
		more = c.codecs
	}
	return opts, ofStreams, more
}

// ofCall returns the options of a call or a stream with messages of about that many
// bytes.
func (c *compression) ofCall(size int) []core.CallOption {
	if !c.calls || size%3 != 0 {
		return nil
	}
	codec := c.codecs[size%len(c.codecs)]
	switch size / 3 % 4 {
	case 0:
		return []core.CallOption{core.WithCompression(nil)}
	case 1:
		return []core.CallOption{core.WithRequestCompression(codec), core.WithCompressionThreshold(1 + size%500)}
	case 2:
		if c.windows {
			return []core.CallOption{core.WithCompression(codec), core.WithSharedWindow()}
		}
	}
	return []core.CallOption{core.WithCompression(codec)}
}

// checkCompression holds that every compressed message was restored, on all nodes and
// incarnations that there were: nobody sends what its receiver cannot decode (I4, I5).
// The rogue does.
func (w *world) checkCompression() {
	for _, in := range w.past {
		for _, s := range in.m.Stats().Compression {
			w.trace.notef("%s: %v", in.name, s)
			if n := s.Requests.Failed + s.Responses.Failed; n > 0 && !w.p.rogue {
				w.violatef("I4", "%d compressed messages of %q did not become what they were at %s: %v", n, s.Handler, in.name, s)
			}
			for _, f := range []core.CompressionFlow{s.Requests, s.Responses} {
				// In a window the first messages are sent whether they are smaller or not.
				if f.Sent.Packed > f.Sent.Plain-f.Sent.Plain/worthShare && !w.p.compress.windows {
					w.violatef("I15", "compression of %q at %s saves less than a sixteenth: %v", s.Handler, in.name, s)
				}
			}
		}
	}
}

const worthShare = 16

// ramps is a codec without any state that takes no time: bytes that ascend by one, as
// those of the ledger do for the most part, become their number and the first of
// them.
type ramps struct{}

func (ramps) Name() string { return "ramps" }

func (ramps) Append(dst, src []byte) []byte {
	for len(src) > 0 {
		n := 1
		for n < len(src) && n < 255 && src[n] == src[n-1]+1 {
			n++
		}
		dst, src = append(dst, byte(n), src[0]), src[n:]
	}
	return dst
}

func (ramps) Decode(dst, src []byte, limit int) ([]byte, error) {
	if len(src)%2 != 0 {
		return dst, errRamps
	}
	out := dst
	for ; len(src) > 0; src = src[2:] {
		n, b := int(src[0]), src[1]
		if n == 0 || len(out)+n > len(dst)+limit {
			return dst, errRamps
		}
		for i := range n {
			out = append(out, b+byte(i))
		}
	}
	return out, nil
}

var errRamps = errors.New("nothing that ramps makes")

// windowedRamps is ramps with windows. What a message becomes depends on all before it
// in the window, so that one which is missing, or in another order, is found.
type windowedRamps struct{ ramps }

func (windowedRamps) NewWindow() interface {
	Append(dst, src []byte) []byte
	Decode(dst, src []byte, size int) ([]byte, error)
	Close()
} {
	return new(rampWindow)
}

// rampWindow is the checksum over all messages so far.
type rampWindow struct {
	sum    uint32
	closed bool
}

// rampHead is in front of a message in a window: the checksum of those before it, and
// whether it is ramps or as it was.
const rampHead = 5

func (w *rampWindow) Append(dst, src []byte) []byte {
	if w.closed {
		panic("a window is used that is closed")
	}
	base := len(dst)
	dst = append(binary.LittleEndian.AppendUint32(dst, w.sum), 1)
	if dst = (ramps{}).Append(dst, src); len(dst)-base-rampHead > len(src) {
		dst = append(dst[:base+rampHead], src...)
		dst[base+rampHead-1] = 0
	}
	w.sum = crc32.Update(w.sum, crc32.IEEETable, src)
	return dst
}

func (w *rampWindow) Decode(dst, src []byte, size int) (out []byte, err error) {
	if w.closed {
		panic("a window is used that is closed")
	}
	if len(src) < rampHead || binary.LittleEndian.Uint32(src) != w.sum || src[rampHead-1] > 1 {
		return dst, errRamps
	}
	if src[rampHead-1] == 1 {
		out, err = (ramps{}).Decode(dst, src[rampHead:], size)
	} else {
		out = append(dst, src[rampHead:]...)
	}
	if err != nil || len(out)-len(dst) != size {
		return dst, errRamps
	}
	w.sum = crc32.Update(w.sum, crc32.IEEETable, out[len(dst):])
	return out, nil
}

func (w *rampWindow) Close() { w.closed = true }

// packedByRogue says of some messages that they are compressed, by codecs that there
// are and such that there are not, to sizes that fit and such that do not. Which ones
// depends on the frame alone, so that it draws nothing. Some stand for more than the
// limit.
func packedByRogue(b []byte, limit int) []byte {
	f, rest, err := wire.Next(b)
	if err != nil || len(rest) > 0 || f.Flags&^(wire.FlagHigh|wire.FlagLow) != 0 {
		return b
	}
	head := 0
	switch f.Type {
	case wire.TypeRequest:
		head = 16
	case wire.TypeOpen:
		head = 20
	case wire.TypeData, wire.TypeResponse:
	default:
		return b
	}
	sum := crc32.ChecksumIEEE(b)
	if sum%5 != 0 || len(f.Body) < head+wire.DecodedSize+2 {
		return b
	}
	n := uint32(len(f.Body) - head - wire.DecodedSize)
	decoded := []uint32{n, n + 1, 2 * n, 100 * n, 100_000, 1 << 31, 1<<32 - 1}[sum>>4%7]
	if sum>>8%3 == 0 {
		// One that can be restored where codec 1 is that of the simulation.
		most := []int{1, limit / 510, limit / 255, limit/255 + 1}[sum>>10%4]
		b = append(b[:wire.HeaderSize+head+wire.DecodedSize], bytes.Repeat([]byte{255, 1}, most)...)
		binary.LittleEndian.PutUint32(b, uint32(head+wire.DecodedSize+2*most))
		decoded = uint32(255 * most)
	}
	wire.SetCodec(b, uint8(1+sum>>12%3), uint8(sum>>16%8/7), uint64(decoded))
	return b
}

// TestRamps holds the codec of the simulation to giving back what it got, and to
// making the messages of the ledger smaller.
func TestRamps(t *testing.T) {
	r := stream(1, 1)
	for range 200 {
		b := make([]byte, r.IntN(2000))
		for i := range b {
			b[i] = byte(i + i>>8)
			if r.IntN(20) == 0 {
				b[i] = byte(r.Uint32())
			}
		}
		packed := ramps{}.Append([]byte("x"), b)
		got, err := ramps{}.Decode([]byte("y"), packed[1:], len(b))
		if err != nil || string(got) != "y"+string(b) {
			t.Fatalf("%d bytes became others, or %v", len(b), err)
		}
		if _, err := (ramps{}).Decode(nil, packed[1:], len(b)-1); len(b) > 0 && err == nil {
			t.Fatal("more than the limit was decoded")
		}
	}
}

// TestSeedsCompress holds that about half of the seeds compress messages, in all the
// ways there are.
func TestSeedsCompress(t *testing.T) {
	on, mixed, calls, windows := 0, 0, 0, 0
	const n = 1000
	for seed := range uint64(n) {
		c := newCompression(seed)
		if c.codecs != nil {
			on++
		}
		if c.off > 0 {
			mixed++
		}
		if c.calls {
			calls++
		}
		if c.windows {
			windows++
		}
	}
	if on < n/3 || mixed < n/8 || calls < n/8 || windows < n/8 {
		t.Errorf("of %d seeds %d compress, in %d some nodes do not, in %d calls say how, in %d streams share windows", n, on, mixed, calls, windows)
	}
}
