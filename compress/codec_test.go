package compress_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/gridmux/gridmux/compress"
	"github.com/gridmux/gridmux/internal/samples"
)

// codecs returns one of each codec and level, with the dictionaries.
func codecs(dicts ...*compress.Dictionary) map[string]*compress.Codec {
	all := make(map[string]*compress.Codec)
	for l := compress.Fastest; l <= compress.Best; l++ {
		opts := []compress.Option{compress.WithLevel(l)}
		for _, d := range dicts {
			opts = append(opts, compress.WithDictionary(d))
		}
		var zstd []compress.ZstdOption
		var s2 []compress.S2Option
		for _, o := range opts {
			zstd, s2 = append(zstd, o), append(s2, o)
		}
		all[fmt.Sprint("zstd-", l)] = compress.Zstd(zstd...)
		all[fmt.Sprint("s2-", l)] = compress.S2(s2...)
	}
	return all
}

// trained returns a dictionary for the kind, made of the records with the seed.
func trained(tb testing.TB, kind string, seed uint64) *compress.Dictionary {
	tb.Helper()
	d, err := compress.Train(samples.ByName(kind).Records(seed, 1000), 0)
	if err != nil {
		tb.Fatal(err)
	}
	return d
}

var sizes = []int{0, 1, 7, 31, 32, 200, 255, 256, 1000, 64<<10 - 1, 64 << 10, 64<<10 + 1, 128 << 10, 300_000, 2<<20 + 5}

// TestRoundTrip expects every payload back, behind what dst has already, from
// every codec and level, with a dictionary and without.
func TestRoundTrip(t *testing.T) {
	t.Parallel()
	d := trained(t, "json", 1)
	for name, c := range codecs(d) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if err := c.Err(); err != nil {
				t.Fatal(err)
			}
			for _, k := range samples.Kinds {
				for _, size := range sizes {
					if size > 1<<20 && (name == "s2-3" || name == "zstd-3") {
						continue // seconds each, and nothing new
					}
					src := k.Payload(1, size)
					for _, id := range []uint64{0, d.ID()} {
						packed := c.AppendDict([]byte("head"), src, id)
						if !bytes.HasPrefix(packed, []byte("head")) {
							t.Fatalf("%s, %d bytes: Append changed what dst had", k.Name, size)
						}
						if got, most := len(packed)-4, size+size/16384+32; got > most {
							t.Errorf("%s, %d bytes: compressed to %d, documented are at most %d", k.Name, size, got, most)
						}
						got, err := c.DecodeDict([]byte("tail"), packed[4:], id, size)
						if err != nil || !bytes.Equal(got, append([]byte("tail"), src...)) {
							t.Fatalf("%s, %d bytes, dictionary %x: error %v or other bytes", k.Name, size, id, err)
						}
						if _, err := c.DecodeDict(nil, packed[4:], id, size-1); size > 0 && !errors.Is(err, compress.ErrTooLarge) {
							t.Errorf("%s, %d bytes with a limit of one less: %v, want ErrTooLarge", k.Name, size, err)
						}
					}
				}
			}
		})
	}
}

// TestLevelsUnderstandEachOther expects what one level makes to be decoded by
// the others: the name of the codec is all that is negotiated.
func TestLevelsUnderstandEachOther(t *testing.T) {
	t.Parallel()
	src := samples.ByName("log").Payload(1, 100_000)
	all := codecs()
	for from, a := range all {
		for to, b := range all {
			got, err := b.Decode(nil, a.Append(nil, src), len(src))
			if a.Name() == b.Name() && (err != nil || !bytes.Equal(got, src)) {
				t.Errorf("%s to %s: %v", from, to, err)
			}
			if a.Name() != b.Name() && err == nil {
				t.Errorf("%s to %s was decoded", from, to)
			}
		}
	}
}

// TestNames expects the names of W97.
func TestNames(t *testing.T) {
	t.Parallel()
	if got := compress.S2().Name() + compress.Zstd().Name(); got != "s2zstd" {
		t.Errorf("names are %q", got)
	}
}

// TestImpossibleOptions expects an error that names the option, and a codec that
// works as if it had not been given.
func TestImpossibleOptions(t *testing.T) {
	t.Parallel()
	d := trained(t, "json", 1)
	var many []*compress.Dictionary
	for seed := range uint64(17) {
		e, err := compress.Train(samples.ByName("log").Records(seed, 20), 256)
		if err != nil {
			t.Fatal(err)
		}
		many = append(many, e)
	}
	for want, c := range map[string]*compress.Codec{
		"compress: s2: WithLevel(4)":                compress.S2(compress.WithLevel(4)),
		"compress: zstd: WithConcurrency(0)":        compress.Zstd(compress.WithConcurrency(0)),
		"compress: zstd: WithWindow(100000)":        compress.Zstd(compress.WithWindow(100_000)),
		"compress: zstd: WithWindow(16777216)":      compress.Zstd(compress.WithWindow(16 << 20)),
		"compress: zstd: WithWindow(32768)":         compress.Zstd(compress.WithWindow(32 << 10)),
		"WithDictionary: a dictionary is nil":       compress.Zstd(compress.WithDictionary(nil)),
		"is given twice":                            compress.S2(compress.WithDictionary(d, d)),
		"WithDictionary: more than 16":              compress.S2(compress.WithDictionary(many[0], many[1:]...)),
		"WithLevel(9): there are the levels 0 to":   compress.Zstd(compress.WithWindow(1), compress.WithLevel(9)),
		"WithWindow(1): a window is a power of two": compress.Zstd(compress.WithWindow(1), compress.WithLevel(9)),
	} {
		if err := c.Err(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error is %v, want %q in it", err, want)
		}
		src := samples.ByName("json").Payload(1, 1000)
		if got, err := c.Decode(nil, c.Append(nil, src), len(src)); err != nil || !bytes.Equal(got, src) {
			t.Errorf("%s: does not work any more: %v", want, err)
		}
	}
}

// TestSharedByGoroutines expects one codec to serve more goroutines than it has
// coders, each with messages of its own.
func TestSharedByGoroutines(t *testing.T) {
	t.Parallel()
	d := trained(t, "json", 1)
	for _, c := range []*compress.Codec{
		compress.Zstd(compress.WithConcurrency(2), compress.WithDictionary(d)),
		compress.S2(compress.WithConcurrency(2), compress.WithDictionary(d)),
	} {
		var wg sync.WaitGroup
		for g := range uint64(16) {
			wg.Go(func() { exchange(t, c, g) })
		}
		wg.Wait()
	}
}

// exchange sends some messages through the codec, those of no other seed.
func exchange(t *testing.T, c *compress.Codec, seed uint64) {
	t.Helper()
	ids := append([]uint64{0}, c.Dictionaries()...)
	for i, size := range []int{100, 1000, 10_000, 150_000, 300} {
		src := samples.ByName("json").Payload(seed*100+uint64(i), size)
		id := ids[i%len(ids)]
		got, err := c.DecodeDict(nil, c.AppendDict(nil, src, id), id, size)
		if err != nil || !bytes.Equal(got, src) {
			t.Errorf("%s, seed %d, %d bytes: error %v or other bytes", c.Name(), seed, size, err)
		}
	}
}

// TestDictionaryRollOver expects two nodes, of which one has the new dictionary
// already, to find one that both have, whichever of them sends.
func TestDictionaryRollOver(t *testing.T) {
	t.Parallel()
	first, second := trained(t, "json", 1), trained(t, "json", 2)
	src := samples.ByName("json").Records(3, 1)[0]
	for _, with := range []func(*compress.Dictionary, ...*compress.Dictionary) *compress.Codec{
		func(d *compress.Dictionary, o ...*compress.Dictionary) *compress.Codec {
			return compress.Zstd(compress.WithDictionary(d, o...))
		},
		func(d *compress.Dictionary, o ...*compress.Dictionary) *compress.Codec {
			return compress.S2(compress.WithDictionary(d, o...))
		},
	} {
		before, during, after := with(first), with(second, first), with(second)
		for _, pair := range []struct {
			a, b *compress.Codec
			want uint64
		}{
			{before, before, first.ID()},
			{before, during, first.ID()},
			{during, during, second.ID()},
			{during, after, second.ID()},
			{before, after, 0},
		} {
			for _, way := range [][2]*compress.Codec{{pair.a, pair.b}, {pair.b, pair.a}} {
				id := common(way[0], way[1])
				if id != pair.want {
					t.Errorf("%s: dictionary %016x was agreed on, want %016x", way[0].Name(), id, pair.want)
				}
				got, err := way[1].DecodeDict(nil, way[0].AppendDict(nil, src, id), id, 1000)
				if err != nil || !bytes.Equal(got, src) {
					t.Errorf("%s with %016x: error %v or other bytes", way[0].Name(), id, err)
				}
			}
		}

		// A node that was not asked what it has.
		packed := during.AppendDict(nil, src, second.ID())
		if _, err := before.DecodeDict(nil, packed, second.ID(), 1000); !errors.Is(err, compress.ErrUnknownDictionary) {
			t.Errorf("%s: with a dictionary that the receiver lacks: %v, want ErrUnknownDictionary", before.Name(), err)
		}
		if got := before.AppendDict([]byte("x"), src, second.ID()); string(got) != "x" {
			t.Errorf("%s: with a dictionary that the sender lacks: %d bytes, want none", before.Name(), len(got)-1)
		}
	}
}

// common is the choice that the documentation of WithDictionary describes.
func common(from, to *compress.Codec) uint64 {
	for _, id := range from.Dictionaries() {
		if slices.Contains(to.Dictionaries(), id) {
			return id
		}
	}
	return 0
}

// TestWrongDictionary expects a message of zstd whose dictionary the caller did
// not name, or named wrongly, to be refused.
func TestWrongDictionary(t *testing.T) {
	t.Parallel()
	first, second := trained(t, "json", 1), trained(t, "json", 2)
	c := compress.Zstd(compress.WithDictionary(first, second))
	packed := c.AppendDict(nil, samples.ByName("json").Records(3, 1)[0], first.ID())
	for _, id := range []uint64{0, second.ID()} {
		if _, err := c.DecodeDict(nil, packed, id, 1000); !errors.Is(err, compress.ErrUnknownDictionary) {
			t.Errorf("as one with %016x: %v, want ErrUnknownDictionary", id, err)
		}
	}
}

// TestNilCodec holds that a nil pointer is an error that says what to do, where it used to
// be a panic of whoever was given it.
func TestNilCodec(t *testing.T) {
	var c *compress.Codec
	if name, err := c.Name(), c.Err(); name != "" || err == nil || !strings.Contains(err.Error(), "pass nil itself") {
		t.Errorf("a nil Codec has the name %q and the error %v", name, err)
	}
}
