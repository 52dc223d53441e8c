package main

import (
	"context"
	"encoding/binary"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"

	"github.com/gridmux/gridmux/compress"
	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/internal/samples"
)

// benchPlan is the window of each turn of a benchmark.
var benchPlan = plan{rounds: 1, warmUp: 30 * time.Millisecond, window: 120 * time.Millisecond}

// openFor connects two nodes for a benchmark.
func openFor(b *testing.B, k kind, all ...*sending) *senders {
	b.Helper()
	pair, err := openSenders(b.Context(), k.open(onLoopback), all, serveByHand)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { pair.end(context.WithoutCancel(b.Context())) })
	return pair
}

// turn measures one way to send.
func (s *senders) turn(b *testing.B, of *sending, w *way) sample {
	b.Helper()
	m, _, err := s.window(b.Context(), of, w, of.callers(), benchPlan)
	if err != nil {
		b.Fatal(err)
	}
	return m
}

// generatedSending is messages of a payload.
func generatedSending(name string, size int, d *compress.Dictionary) *sending {
	return newSending(name, size, generated(name).messages(size, min(max(messageBytes/size, leastMessages), mostMessages)), d)
}

// BenchmarkIncompressible measures calls with random payloads over websocket on the
// loopback interface: x-off is how many there are with the codec, in times of how many
// there are without, the median of the turns, and is to be at least 0.95.
func BenchmarkIncompressible(b *testing.B) {
	for _, size := range []int{1 << 10, 16 << 10, 128 << 10} {
		of := generatedSending("random", size, nil)
		pair := openFor(b, kinds()[1], of)
		for _, w := range of.ways[1:] {
			b.Run(octets(size)+"/"+w.name, func(b *testing.B) {
				var ratios []float64
				for b.Loop() {
					// Each is the first in every other turn.
					var plain, with sample
					if len(ratios)%2 == 0 {
						plain = pair.turn(b, of, of.ways[0])
					}
					with = pair.turn(b, of, w)
					if len(ratios)%2 == 1 {
						plain = pair.turn(b, of, of.ways[0])
					}
					ratios = append(ratios, with.PerSecond()/plain.PerSecond())
				}
				b.ReportMetric(median(ratios), "x-off")
				b.ReportMetric(0, "ns/op")
			})
		}
	}
}

// BenchmarkRecords measures what is left on the link of records of some 200 bytes, with a
// dictionary that was trained on other records: left is a part of their size, and is to be
// at most 0.5; left-call is that with the frame, in parts of the plain record with its own.
func BenchmarkRecords(b *testing.B) {
	for _, name := range []string{"json", "log", "msgpack"} {
		others := samples.ByName(name).Records(messageSeed, 500)
		d := trained(generated(name).train, others)
		of := newSending(name, 200, others, d)
		pair := openFor(b, kinds()[0], of)
		for _, w := range of.ways[1:] {
			b.Run(name+"/"+w.name, func(b *testing.B) {
				left, whole := 0., 0.
				for b.Loop() {
					plain := pair.octets(b, of, of.ways[0])
					whole = pair.octets(b, of, w) / plain
					left = w.left(of.messages)
				}
				b.ReportMetric(left, "left")
				b.ReportMetric(whole, "left-call")
				b.ReportMetric(0, "ns/op")
			})
		}
	}
}

// octets is what each call has on the link, one call at a time.
func (s *senders) octets(b *testing.B, of *sending, w *way) float64 {
	b.Helper()
	before := s.sent()
	if err := w.check(b.Context(), s.connection("b"), of.messages); err != nil {
		b.Fatal(err)
	}
	return float64(s.sent()-before) / float64(len(of.messages))
}

// left is the part of messages that the codec leaves.
func (w *way) left(messages [][]byte) float64 {
	id := uint64(0)
	if ids := w.with.Dictionaries(); len(ids) > 0 {
		id = ids[0]
	}
	plain, packed := 0, 0
	for _, m := range messages {
		plain += len(m)
		packed += len(w.with.AppendDict(nil, m, id))
	}
	return float64(packed) / float64(plain)
}

// BenchmarkCompressionCost measures the processor time that compression takes of a call
// over inmem, both ends together. What a call takes without compression is subtracted,
// that of one whose message has as many bytes as the compressed one, so that what is
// left has everything that compression adds. It is told as medians of the turns, in times
// of two others:
//
// x-call is that of the library called in the same place: by the caller on the message,
// and by the handler on what arrives, in calls without compression. It is to be at most
// 1.15.
//
// x-library is that of the library alone, which compresses and restores the same
// messages in a loop, on as many goroutines as there are processors. call-library is
// what the library called in place takes of the same: as much as x-library is larger
// than x-call is not of core, but of a processor whose caches and branch predictor have
// other things to do as well, which for small messages matters.
//
// There are so many messages that the processor does not learn them by heart: of 64 of 1
// KiB, the loop takes half of the time for each that it takes of 1 024.
func BenchmarkCompressionCost(b *testing.B) {
	if _, ok := processorTime(); !ok {
		b.Fatal("the system does not tell the processor time")
	}
	for _, size := range []int{1 << 10, 16 << 10, 128 << 10} {
		of := newSending("json", size, generated("json").messages(size, costBytes/size), nil)
		all := []*sending{of}
		small := map[string]*sending{}
		for _, w := range of.ways[1:] {
			n := int(w.left(of.messages) * float64(size))
			small[w.name] = newSending("random for "+w.name, n, generated("random").messages(n, len(of.messages)), nil)
			all = append(all, small[w.name])
		}
		pair := openFor(b, kinds()[0], all...)
		for _, w := range of.ways[1:] {
			b.Run(octets(size)+"/"+w.name, func(b *testing.B) {
				runner := newBench(runtime.GOMAXPROCS(0))
				var inPlace, alone, place []float64
				codec := bareCodecs[w.name]
				for b.Loop() {
					library, err := runner.window(b.Context(), &load{each: 1}, bareTasks(b, codec, of), benchPlan.warmUp, benchPlan.window)
					if err != nil {
						b.Fatal(err)
					}
					plain := pair.turn(b, small[w.name], small[w.name].ways[0]).CPU
					with := pair.turn(b, of, w).CPU - plain
					byHand := pair.turnByHand(b, of, w.name).CPU - plain
					inPlace = append(inPlace, float64(with)/float64(byHand))
					alone = append(alone, float64(with)/float64(library.CPU))
					place = append(place, float64(byHand)/float64(library.CPU))
				}
				b.ReportMetric(median(inPlace), "x-call")
				b.ReportMetric(median(alone), "x-library")
				b.ReportMetric(median(place), "call-library")
				b.ReportMetric(0, "ns/op")
			})
		}
	}
}

// costBytes is how many bytes the messages have together.
const costBytes = 1 << 20

// bareCodec makes what the library has for one goroutine, with the options that package
// compress gives it.
type bareCodec func() (*bareCoder, error)

// bareCoder writes into dst from its beginning on, which has room.
type bareCoder struct {
	encode, decode func(dst, src []byte) ([]byte, error)
	packed, plain  []byte // for who needs them
}

var bareCodecs = map[string]bareCodec{"s2": bareS2, "zstd": bareZstd}

// bareTasks compress and restore messages by the library alone.
func bareTasks(b *testing.B, codec bareCodec, of *sending) (t tasks) {
	b.Helper()
	for range runtime.GOMAXPROCS(0) {
		c, err := codec()
		if err != nil {
			b.Fatal(err)
		}
		next := 0
		t.measured = append(t.measured, func(context.Context) (step func() error, end func(), err error) {
			return func() error {
				next++
				out, err := c.encode(c.packed, of.messages[next%len(of.messages)])
				if err == nil {
					_, err = c.decode(c.plain, out)
				}
				return err
			}, func() {}, nil
		})
	}
	return t
}

func newBareCoder(encode, decode func(dst, src []byte) ([]byte, error)) *bareCoder {
	return &bareCoder{encode, decode, make([]byte, 256<<10), make([]byte, 512<<10)}
}

func bareS2() (*bareCoder, error) {
	return newBareCoder(
		func(dst, src []byte) ([]byte, error) { return s2.Encode(dst, src), nil },
		s2.Decode,
	), nil
}

func bareZstd() (*bareCoder, error) {
	e, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderLevel(zstd.SpeedFastest),
		zstd.WithWindowSize(1<<20), zstd.WithLowerEncoderMem(true), zstd.WithSingleSegment(true), zstd.WithEncoderCRC(false))
	if err != nil {
		return nil, err
	}
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1))
	if err != nil {
		return nil, err
	}
	return newBareCoder(
		func(dst, src []byte) ([]byte, error) { return e.EncodeAll(src, dst[:0]), nil },
		func(dst, src []byte) ([]byte, error) { return d.DecodeAll(src, dst[:0]) },
	), nil
}

// handCoders are those of who compresses by hand, by codec.
var handCoders = map[string]*sync.Pool{"s2": handPool(bareS2), "zstd": handPool(bareZstd)}

func handPool(codec bareCodec) *sync.Pool {
	return &sync.Pool{New: func() any {
		c, err := codec()
		if err != nil {
			return nil
		}
		return c
	}}
}

// packedBuffers hold what was compressed by hand until the answer is there.
var packedBuffers sync.Pool

// byHand is the handler whose requests are compressed by hand with the codec.
func byHand(codec string) core.HandlerID { return core.HandlerID("bench.hand." + codec) }

func serveByHand(m *core.Manager) error {
	for codec, coders := range handCoders {
		err := m.HandleAppend(byHand(codec), func(_ context.Context, req, dst []byte) ([]byte, error) {
			c := coders.Get().(*bareCoder)
			plain, err := c.decode(c.plain, req)
			coders.Put(c)
			return binary.AppendUvarint(dst, uint64(len(plain))), err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// turnByHand is turn with messages that the caller compresses and the handler restores.
func (s *senders) turnByHand(b *testing.B, of *sending, codec string) sample {
	b.Helper()
	n, conn, coders := of.callers(), s.connection("b"), handCoders[codec]
	what := load{table: calls, title: of.title() + ", " + codec + " by hand", atOnce: n, each: 1}
	m, err := s.bench.window(b.Context(), &what, callers(of.messages, n, func(ctx context.Context, m, buf []byte) error {
		packed, ok := packedBuffers.Get().(*[]byte)
		if !ok || len(*packed) < s2.MaxEncodedLen(of.size) {
			p := make([]byte, s2.MaxEncodedLen(of.size))
			packed = &p
		}
		c := coders.Get().(*bareCoder)
		out, err := c.encode(*packed, m)
		coders.Put(c)
		if err != nil {
			return err
		}
		answer, err := conn.AppendRequest(ctx, byHand(codec), out, buf[:0], of.ways[0].options...)
		packedBuffers.Put(packed)
		if err != nil {
			return err
		}
		if n, _ := binary.Uvarint(answer); n != uint64(len(m)) {
			return errWrongAnswer
		}
		return nil
	}), benchPlan.warmUp, benchPlan.window)
	if err != nil {
		b.Fatal(err)
	}
	return m
}
