package core

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/gridmux/gridmux/core/internal/wire"
)

// runs is a Compressor for tests: pairs of a length and a byte.
type runs struct {
	name string
	ids  []uint64
}

func (r runs) Name() string { return r.name }

func (runs) Append(dst, src []byte) []byte {
	for len(src) > 0 {
		n := 1
		for n < len(src) && n < 255 && src[n] == src[0] {
			n++
		}
		dst, src = append(dst, byte(n), src[0]), src[n:]
	}
	return dst
}

func (runs) Decode(dst, src []byte, limit int) ([]byte, error) {
	total := 0
	for i := 0; i+1 < len(src); i += 2 {
		if total += int(src[i]); total > limit {
			return dst, errors.New("too large")
		}
		dst = append(dst, bytes.Repeat(src[i+1:i+2], int(src[i]))...)
	}
	return dst, nil
}

func (r runs) Dictionaries() []uint64 { return r.ids }

// With a dictionary all is shifted by its id.
func (r runs) AppendDict(dst, src []byte, id uint64) []byte {
	return append(dst, r.Append(nil, bytes.Map(func(c rune) rune { return c + rune(id) }, src))...)
}

func (r runs) DecodeDict(dst, src []byte, id uint64, limit int) ([]byte, error) {
	out, err := r.Decode(nil, src, limit)
	return append(dst, bytes.Map(func(c rune) rune { return c - rune(id) }, out)...), err
}

func compressorOf(t *testing.T, c Compressor) *compressor {
	t.Helper()
	own, err := newCompressor(c)
	if err != nil {
		t.Fatal(err)
	}
	return own
}

// TestCodecTable holds that what was announced keeps its number: names in order when
// the table is sealed, later ones behind them, and each dictionary once.
func TestCodecTable(t *testing.T) {
	var table codecTable
	table.set.Store(new(codecSet))
	add := func(name string, ids ...uint64) *compressor {
		c := compressorOf(t, runs{name, ids})
		if err := table.add(c); err != nil {
			t.Fatal(err)
		}
		return c
	}
	add("zz", 7)
	add("mm", 7, 8)
	first := add("mm", 8, 9)
	table.seal()
	sealed := table.set.Load()
	add("aa", 1)
	add("mm", 5, 7)
	names, dicts := table.set.Load().announcement(0, 0)
	if want := []string{"mm", "zz", "aa"}; !slices.Equal(names, want) {
		t.Errorf("names are %q, want %q", names, want)
	}
	if want := []wire.Dict{{Codec: 2, ID: 7}, {Codec: 1, ID: 7}, {Codec: 1, ID: 8}, {Codec: 1, ID: 9}, {Codec: 3, ID: 1}, {Codec: 1, ID: 5}}; !slices.Equal(dicts, want) {
		t.Errorf("dictionaries are %v, want %v", dicts, want)
	}
	later, more := table.set.Load().announcement(len(sealed.names), len(sealed.dicts))
	if len(later) != 1 || len(more) != 2 {
		t.Errorf("%q and %v are announced later, want what was added later", later, more)
	}
	if c, id, err := table.set.Load().decoder(1, 4); c != first || id != 9 || err != nil {
		t.Errorf("dictionary 4 is %x of %v, %v", id, c, err)
	}
	for _, n := range [][2]uint8{{0, 0}, {4, 0}, {255, 0}, {1, 7}, {1, 255}, {2, 2}, {1, 1}} {
		if _, _, err := table.set.Load().decoder(n[0], n[1]); !errors.Is(err, errUnsupported) {
			t.Errorf("codec %d with dictionary %d: %v, want that there is none", n[0], n[1], err)
		}
	}
}

// TestCodecTableIsBounded holds the table to what can be announced.
func TestCodecTableIsBounded(t *testing.T) {
	var table codecTable
	table.set.Store(new(codecSet))
	for i := range wire.MaxCodecs {
		if err := table.add(compressorOf(t, runs{name: fmt.Sprint(i)})); err != nil {
			t.Fatal(err)
		}
	}
	if table.add(compressorOf(t, runs{name: "one more"})) == nil {
		t.Error("there are more names than can be announced")
	}
	ids := make([]uint64, wire.MaxDicts+1)
	for i := range ids {
		ids[i] = uint64(i) + 1
	}
	if table.add(compressorOf(t, runs{"0", ids})) == nil {
		t.Error("there are more dictionaries than can be announced")
	}
	if err := table.add(compressorOf(t, runs{"0", ids[1:]})); err != nil {
		t.Errorf("as many dictionaries as can be announced: %v", err)
	}
}

// TestKnownCompressorTakesNoLock expects a Compressor of which the table knows
// everything to cost no lock, though it is one that was made for a single call.
func TestKnownCompressorTakesNoLock(t *testing.T) {
	var table codecTable
	table.set.Store(new(codecSet))
	if err := table.add(compressorOf(t, runs{"one", []uint64{7, 8}})); err != nil {
		t.Fatal(err)
	}
	table.mu.Lock() // who asks for it waits for ever
	defer table.mu.Unlock()
	for _, ids := range [][]uint64{nil, {8}, {7, 8}} {
		if err := table.add(compressorOf(t, runs{"one", ids})); err != nil {
			t.Error(err)
		}
	}
}

// TestFailedHandleLeavesNoCodec expects a handler that cannot be registered to leave
// nothing of its Compressors in what the node announces.
func TestFailedHandleLeavesNoCodec(t *testing.T) {
	m := newTestManager(t, func(*Config) {})
	echo := func(_ context.Context, req []byte) ([]byte, error) { return req, nil }
	with := func(name string, ids ...uint64) Option { return WithCompression(runs{name, ids}) }
	if err := m.Handle("taken", echo, with("first")); err != nil {
		t.Fatal(err)
	}
	before := m.codecs.set.Load()
	if m.Handle("taken", echo, with("of a duplicate")) == nil {
		t.Error("an id is taken twice")
	}
	tooMany := make([]uint64, wire.MaxDicts+1)
	for i := range tooMany {
		tooMany[i] = uint64(i) + 1
	}
	if m.Handle("impossible", echo, WithRequestCompression(runs{"of a request", nil}), WithResponseCompression(runs{"too many", tooMany})) == nil {
		t.Error("more dictionaries than can be announced are accepted")
	}
	if set := m.codecs.set.Load(); set != before {
		names, dicts := set.announcement(0, 0)
		t.Errorf("after handlers that failed %q with %d dictionaries are announced, want what was before", names, len(dicts))
	}
	if err := m.Handle("impossible", echo, with("first")); err != nil {
		t.Errorf("the id of a handler that failed cannot be used: %v", err)
	}
}

// TestPackCounts expects the counts to be right however small or large messages are,
// and whenever they are read.
func TestPackCounts(t *testing.T) {
	var c packCounts
	var want CompressionCount
	for i := range 60_000 {
		plain, packed := 1+i%64, 1
		switch {
		case i%7 == 0:
			plain, packed = recentSize-1, recentSize-1
		case i%1001 == 0:
			plain, packed = limitMaxMessage, 3
		case i%1003 == 0:
			plain, packed = 3, limitMaxMessage // what a peer may send
		}
		c.add(plain, packed)
		want.Messages++
		want.Plain += int64(plain)
		want.Packed += int64(packed)
		if i%9973 == 0 || i == 59_999 {
			if got := c.stats(); got != want {
				t.Fatalf("after %d messages the counts are %+v, want %+v", i+1, got, want)
			}
		}
	}
	for _, size := range []int64{1, recentSize - 1} {
		var same packCounts
		for range 1_000_000 {
			same.add(int(size), int(size))
		}
		if got, want := same.stats(), (CompressionCount{Messages: 1e6, Plain: 1e6 * size, Packed: 1e6 * size}); got != want {
			t.Errorf("of a million messages of %d bytes the counts are %+v", size, got)
		}
	}
}

// TestBriefBuffersAreApart expects a buffer that was put back soon to be the next one of
// its kind, and not one for those that are held.
func TestBriefBuffersAreApart(t *testing.T) {
	brief := getBrief(1000)
	if !brief.brief || cap(brief.b) < 1000 {
		t.Fatalf("a buffer for 1000 bytes has %d", cap(brief.b))
	}
	brief.put()
	for range 100 {
		if getBuffer(1000) == brief {
			t.Fatal("what was put back soon is handed to who holds it")
		}
	}
	if large := getBrief(maxSmall + 1); large.brief {
		t.Error("a large buffer is kept twice")
	}
}

// TestImpossibleCompressors holds that what cannot work is an error, and that nil
// switches compression off.
func TestImpossibleCompressors(t *testing.T) {
	for _, c := range []Compressor{runs{}, runs{name: strings.Repeat("n", 33)}, runs{name: "\xff"}, misconfigured{}} {
		if _, err := newCompressor(c); err == nil {
			t.Errorf("%q is accepted", c.Name())
		}
	}
	if c, err := newCompressor(nil); c != notCompressed || err != nil {
		t.Errorf("nil is %v, %v", c, err)
	}
}

type misconfigured struct{ runs }

func (misconfigured) Name() string { return "wrong" }
func (misconfigured) Err() error   { return errors.New("impossible options") }

// TestFlowSamples holds that messages which do not become smaller are tried less and
// less, never not at all, and each of them again when one did.
func TestFlowSamples(t *testing.T) {
	var f flow
	next := func() (skipped int) {
		for !f.due() {
			skipped++
		}
		return skipped
	}
	for i, want := range []int{0, 0, 0, 0, 8, 16, 32, 64, 128, 128, 128} {
		if got := next(); got != want {
			t.Errorf("before try %d of messages that are not worth it %d are skipped, want %d", i, got, want)
		}
		f.tried(false)
	}
	f.skip.Store(0)
	f.tried(true)
	for i, want := range []int{0, 0, 0, 0, 8} {
		if got := next(); got != want {
			t.Errorf("after one that was, before try %d, %d are skipped, want %d", i, got, want)
		}
		f.tried(false)
	}
	var good flow
	for range 1000 {
		if !good.due() {
			t.Fatal("a message is skipped although each is worth it")
		}
		good.tried(true)
		good.due()
		good.tried(false) // every other one is not
	}
}

// TestManyFlows holds the number of handlers that are counted apart to its limit: all
// others are counted together (T29).
func TestManyFlows(t *testing.T) {
	var table flowTable
	for i := range maxFlows + 100 {
		k := handlerKey{"data", fmt.Sprint(i)}
		table.of(k, k.hash(), i%directions).small.Add(1)
	}
	all := table.stats()
	if len(all) != maxFlows+1 {
		t.Fatalf("%d handlers are counted apart, want %d and the rest", len(all), maxFlows)
	}
	if rest := all[0]; rest.Handler != "" || rest.Requests.Small+rest.Responses.Small != 100 {
		t.Errorf("the rest is %v, want 100 messages", rest)
	}
}

// TestWorthIt holds that what is compressed saves a sixteenth, with all it costs, and
// has two bytes, since it may have to be sent in two parts.
func TestWorthIt(t *testing.T) {
	for _, c := range []struct {
		packed, plain int
		want          bool
	}{{0, 1000, false}, {1, 1000, false}, {2, 1000, true}, {933, 1000, true}, {934, 1000, false}, {1000, 1000, false}} {
		if got := worthIt(wire.DecodedSize+c.packed, c.plain); got != c.want {
			t.Errorf("%d bytes for %d: %v, want %v", c.packed, c.plain, got, c.want)
		}
	}
}

// TestWishesOfACatalogueThatAnotherSessionLearned holds that the session learns what
// the handlers of its peer want also where it has not asked for their catalogue, since
// that of another peer is the same and was faster.
func TestWishesOfACatalogueThatAnotherSessionLearned(t *testing.T) {
	m := newTestManager(t, func(cfg *Config) { cfg.Compressors = []Compressor{runs{"runs", nil}} })
	s, _ := newTestSession(m)
	defer s.finishTest()
	s.peerCodecs.Store(newPeerCodecs([]string{"runs"}, nil))
	key := handlerKey{id: "list"}
	entries := append(binary.LittleEndian.AppendUint64(nil, key.hash()), singleHandler, 0, 0, 0, 0, 0, 0, 0, 0, 1)
	known, err := m.learnCatalogue(entries)
	if err != nil {
		t.Fatal(err)
	}
	s.catalogue = known.digest
	if _, err := s.handlersOf(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
	if p := s.requestPacker(key, key.hash(), &callSettings{}); p.with == nil {
		t.Error("requests to a handler that wants them compressed are not")
	}
}
