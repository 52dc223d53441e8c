//go:build !race

package compress_test

import (
	"runtime"
	"slices"
	"sync"
	"testing"

	"github.com/gridmux/gridmux/compress"
	"github.com/gridmux/gridmux/internal/samples"
)

// documented are the figures in the comment of compress.Codec for zstd, in MiB
// for each message at once.
var documented = []struct {
	level              compress.Level
	small, large, dict float64
}{
	{compress.Fastest, 0.5, 2.0, 2.4},
	{compress.Balanced, 1.5, 3.2, 4.6},
	{compress.Better, 5.5, 6.4, 10.5},
	{compress.Best, 36, 37, 71},
}

const (
	documentedDecoder = 0.4
	mib               = 1 << 20
)

// held returns what is held of the memory that f allocates.
func held(f func()) float64 {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.GC() // what pools have goes with the second
	runtime.ReadMemStats(&before)
	f()
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&after)
	return float64(int64(after.HeapAlloc)-int64(before.HeapAlloc)) / mib
}

// TestMemory expects coders to be of the size that is documented, neither more
// nor much less.
func TestMemory(t *testing.T) {
	d := trained(t, "json", 1)
	for _, doc := range documented {
		for _, test := range []struct {
			what string
			size int
			id   uint64
			want float64
		}{
			{"small messages", 60_000, 0, doc.small},
			{"large messages", 3 << 20, 0, doc.large},
			{"with a dictionary", 3 << 20, d.ID(), doc.dict},
		} {
			c := compress.Zstd(compress.WithLevel(doc.level), compress.WithConcurrency(1), compress.WithDictionary(d))
			var encoder, decoder float64
			for _, k := range samples.Kinds {
				src := k.Payload(1, test.size)
				packed := make([]byte, 0, test.size+1000)
				decoded := make([]byte, 0, test.size+128<<10)
				var out []byte
				encoder += held(func() { out = c.AppendDict(packed, src, test.id) })
				decoder += held(func() {
					if _, err := c.DecodeDict(decoded, out, test.id, test.size); err != nil {
						t.Error(err)
					}
				})
				runtime.KeepAlive([][]byte{src, packed, decoded})
			}
			runtime.KeepAlive(c)
			t.Logf("level %d, %s: an encoder has %.2f MiB, a decoder %.2f", doc.level, test.what, encoder, decoder)
			if encoder > test.want || encoder < test.want/2 {
				t.Errorf("level %d, %s: an encoder has %.2f MiB, documented are %.1f", doc.level, test.what, encoder, test.want)
			}
			if decoder > documentedDecoder {
				t.Errorf("level %d, %s: a decoder has %.2f MiB, documented are %.1f", doc.level, test.what, decoder, documentedDecoder)
			}
		}
	}
}

// TestMemoryIsBounded expects many goroutines to leave no more behind than the
// coders that WithConcurrency allows.
func TestMemoryIsBounded(t *testing.T) {
	const at, size = 3, 300_000
	src := samples.ByName("json").Payload(1, size)
	c := compress.Zstd(compress.WithConcurrency(at))
	got := held(func() {
		var wg sync.WaitGroup
		for range 64 {
			wg.Go(func() {
				packed := c.Append(make([]byte, 0, size), src)
				if _, err := c.Decode(make([]byte, 0, size+128<<10), packed, size); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	})
	if most := at * (documented[0].large + documentedDecoder); got > most {
		t.Errorf("64 goroutines left %.1f MiB, documented are %.1f", got, most)
	}
	runtime.KeepAlive(src)
	runtime.KeepAlive(c)
}

// TestTrainIsBounded expects samples beyond those that count to change nothing,
// neither the dictionary nor the memory that it takes to make it.
func TestTrainIsBounded(t *testing.T) {
	sample := samples.ByName("json").Payload(1, 64<<10)
	other := samples.ByName("log").Payload(1, 64<<10)
	all := slices.Repeat([][]byte{sample}, 32<<20/len(sample))
	want, err := compress.Train(all, 0)
	if err != nil {
		t.Fatal(err)
	}
	all = append(all, slices.Repeat([][]byte{other}, 1000)...)
	var got *compress.Dictionary
	used := allocated(func() { got, err = compress.Train(all, 0) })
	if err != nil || got.ID() != want.ID() {
		t.Errorf("error %v, or another dictionary", err)
	}
	if used > 250*mib {
		t.Errorf("training allocated %d MiB", used/mib)
	}
}

// TestMemoryOfWindows expects windows to take the memory that is documented, nothing
// before the first message, and to leave to the codec what it may keep.
func TestMemoryOfWindows(t *testing.T) {
	const n = 20
	c := compress.Zstd(compress.WithLevel(compress.Best), compress.WithConcurrency(3))
	var in, out []interface {
		Append(dst, src []byte) []byte
		Decode(dst, src []byte, size int) ([]byte, error)
		Close()
	}
	if unused := held(func() {
		for range n {
			in, out = append(in, c.NewWindow()), append(out, c.NewWindow())
		}
	}); unused > 0.01 {
		t.Errorf("%d windows without a message take %.3f MiB", 2*n, unused)
	}
	messages := conversation(3, 100)
	packed := make([][]byte, len(messages))
	dst := make([]byte, 0, 100<<10)
	encoders := held(func() {
		for _, w := range in {
			for _, msg := range messages {
				w.Append(dst, msg)
			}
		}
	}) / n
	w := c.NewWindow()
	for i, msg := range messages {
		packed[i] = w.Append(nil, msg)
	}
	decoders := held(func() {
		for _, w := range out {
			for i, p := range packed {
				if _, err := w.Decode(dst, p, len(messages[i])); err != nil {
					t.Fatal(err)
				}
			}
		}
	}) / n
	t.Logf("a window that compresses has %.2f MiB, one that decodes %.2f", encoders, decoders)
	if encoders > 0.85 || encoders < 0.5 || decoders > 0.4 || decoders < 0.25 {
		t.Errorf("a window that compresses has %.2f MiB, one that decodes %.2f, documented are 0.8 and 0.4", encoders, decoders)
	}
	kept := held(func() {
		for i := range in {
			in[i].Close()
			out[i].Close()
		}
		w.Close()
		in, out = nil, nil
	}) + n*(encoders+decoders)
	if kept > 4*(encoders+decoders) {
		t.Errorf("the codec keeps %.2f MiB, want that of 3 windows of each kind", kept)
	}
	runtime.KeepAlive([]any{c, messages, packed})
}

// TestNoAllocationsInWindows expects messages in a window to allocate nothing.
func TestNoAllocationsInWindows(t *testing.T) {
	c := compress.Zstd()
	in, out := c.NewWindow(), c.NewWindow()
	messages := conversation(4, 50)
	dst, got := make([]byte, 0, 70<<10), make([]byte, 0, 64<<10)
	all := func() {
		for _, msg := range messages {
			if _, err := out.Decode(got, in.Append(dst, msg), len(msg)); err != nil {
				t.Fatal(err)
			}
		}
	}
	all()
	if n := testing.AllocsPerRun(20, all); n > 1 {
		t.Errorf("%d messages allocate %.0f times", len(messages), n)
	}
}
