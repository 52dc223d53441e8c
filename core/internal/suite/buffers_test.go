package suite_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/coretest"
	"github.com/gridmux/gridmux/core/internal/lab"
)

// static is what handlers return that have their answers ready. Nobody may
// write to it.
var static = map[int][]byte{}

// bufferSizes are around the limit between messages in one frame and in parts.
var bufferSizes = []int{1, 100, 5000, 32 << 10, 32<<10 + 1, 150_000}

func init() {
	for _, n := range bufferSizes {
		static[n] = lab.Pattern(99, n)
	}
}

// answers are the ways in which a handler can come by its result. want is made
// from the request.
var answers = []struct {
	id   core.HandlerID
	give func(req, dst []byte) []byte
	want func(req []byte) []byte
}{
	{"request", func(req, _ []byte) []byte { return req }, bytes.Clone},
	{
		"part of the request", func(req, _ []byte) []byte { return req[len(req)/3 : len(req)/2+1] },
		func(req []byte) []byte { return req[len(req)/3 : len(req)/2+1] },
	},
	{"static", func(req, _ []byte) []byte { return static[len(req)] }, func(req []byte) []byte { return static[len(req)] }},
	{
		"own", func(req, _ []byte) []byte { return append(bytes.Clone(req), "own"...) },
		func(req []byte) []byte { return append(bytes.Clone(req), "own"...) },
	},
	{"nil", func(_, _ []byte) []byte { return nil }, func([]byte) []byte { return nil }},
	{"empty", func(_, _ []byte) []byte { return []byte{} }, func([]byte) []byte { return []byte{} }},
	{"empty part of the request", func(req, _ []byte) []byte { return req[1:1] }, func([]byte) []byte { return []byte{} }},
	{
		"appended", func(req, dst []byte) []byte { return append(append(dst, req...), req...) },
		func(req []byte) []byte { return append(bytes.Clone(req), req...) },
	},
	{
		"part of what was appended", func(req, dst []byte) []byte { return append(dst, req...)[len(req)/2:] },
		func(req []byte) []byte { return req[len(req)/2:] },
	},
	{"part of the request, its capacity cut", func(req, _ []byte) []byte { return req[: len(req)/2 : len(req)/2] }, func(req []byte) []byte { return req[:len(req)/2] }},
	{"appended to the request", func(req, _ []byte) []byte { return append(req, req...) }, func(req []byte) []byte { return append(bytes.Clone(req), req...) }},
	{"appended, its capacity cut", func(req, dst []byte) []byte { return slices.Clip(append(dst, req...)) }, bytes.Clone},
	{"scribbled over the request", func(req, dst []byte) []byte {
		dst = append(dst, req...)
		clear(req)
		return dst
	}, bytes.Clone},
}

// registerAnswers registers every way to answer in the three forms of a handler,
// as "form/way".
func registerAnswers(_ int, m *core.Manager) error {
	var errs []error
	for _, a := range answers {
		app := func(_ context.Context, req, dst []byte) ([]byte, error) { return a.give(req, dst), nil }
		errs = append(errs,
			m.Handle("handle/"+a.id, func(_ context.Context, req []byte) ([]byte, error) { return a.give(req, nil), nil }),
			m.HandleAppend("append/"+a.id, app),
			m.HandleAppend("inline/"+a.id, app, core.WithInline()))
	}
	return errors.Join(errs...)
}

// TestAnswersFromAnyMemory has handlers return memory of every provenance, in
// every size, side by side. Recycled buffers are poisoned under the race
// detector, so whoever recycled one too early would be seen.
func TestAnswersFromAnyMemory(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		c := l.Cluster(t, 2, coretest.WithHandlers(registerAnswers))
		var wg sync.WaitGroup
		for caller := range 6 {
			wg.Go(func() {
				conn := c.Conn(caller%2, caller%3/2)
				dst := make([]byte, 0, 1000)
				for n := range lab.Scale(3, 1, 20) {
					for i, size := range bufferSizes {
						for j, a := range answers {
							req := lab.Pattern(caller*1000+n+i+j, size)
							want := a.want(req)
							form := []core.HandlerID{"handle/", "append/", "inline/"}[(n+caller+i+j)%3]
							// Of low priority all results are sent later.
							prio := []core.Priority{core.PriorityNormal, core.PriorityLow}[(caller+i+j)%2]
							resp, err := conn.Request(t.Context(), form+a.id, req, core.WithPriority(prio))
							if err != nil || !bytes.Equal(resp, want) || (resp == nil) != (want == nil) {
								t.Errorf("%s%s of %d bytes: got %d bytes (nil: %v), %v, want %d of its own",
									form, a.id, size, len(resp), resp == nil, err, len(want))
								return
							}
							// What was returned is ours, and so is the request.
							clear(resp[:cap(resp)])
							dst, err = conn.AppendRequest(t.Context(), form+a.id, req, append(dst[:0], "prefix"...))
							if err != nil || string(dst[:6]) != "prefix" || !bytes.Equal(dst[6:], want) {
								t.Errorf("%s%s of %d bytes appended: got %d bytes, %v, want 6 and %d", form, a.id, size, len(dst), err, len(want))
								return
							}
							clear(req)
						}
					}
				}
			})
		}
		wg.Wait()
		for n, b := range static {
			if !bytes.Equal(b, lab.Pattern(99, n)) {
				t.Fatalf("the library wrote to the %d bytes that a handler returned", n)
			}
		}
	})
}

// TestAppendRequestDst holds what becomes of dst, with room and without, and
// when the call fails.
func TestAppendRequestDst(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		g := lab.NewGate(t, 10)
		c := l.Cluster(t, 2,
			lab.Handle("block", g.Handle),
			lab.Handle("fail", func(context.Context, []byte) ([]byte, error) { return lab.Pattern(1, 100), errors.New("failed") }))
		conn := c.Conn(0, 1)
		for _, size := range []int{0, 1, 500, 100_000} {
			for _, room := range []int{0, size - 1, size, size + 1000} {
				if room < 0 {
					continue
				}
				req, dst := lab.Pattern(2, size), append(make([]byte, 0, 7+room), "already"...)
				got, err := conn.AppendRequest(t.Context(), "echo.append", req, dst)
				if err != nil || string(got) != "already"+string(req) {
					t.Fatalf("%d bytes appended to 7 with room for %d: got %d bytes, %v", size, room, len(got), err)
				}
				if same := &got[0] == &dst[0]; same != (room >= size) {
					t.Errorf("%d bytes appended with room for %d: in the same memory: %v", size, room, same)
				}
				if string(dst) != "already" {
					t.Errorf("what dst held before became %q", dst)
				}
			}
		}
		over, cancel := context.WithCancel(t.Context())
		cancel()
		for _, test := range []struct {
			what string
			ctx  context.Context
			h    core.HandlerID
			opts []core.CallOption
		}{
			{"unknown handler", t.Context(), "none", nil},
			{"error of the handler", t.Context(), "fail", nil},
			{"no handler id", t.Context(), "", nil},
			{"context over", over, "echo", nil},
			{"time over", t.Context(), "block", []core.CallOption{core.WithTimeout(10 * time.Millisecond)}},
		} {
			for _, dst := range [][]byte{nil, {}, append(make([]byte, 0, 1000), "kept"...)} {
				got, err := conn.AppendRequest(test.ctx, test.h, []byte("x"), dst, test.opts...)
				if err == nil || !bytes.Equal(got, dst) || cap(got) != cap(dst) || (got == nil) != (dst == nil) {
					t.Errorf("%s: got %q with capacity %d (nil: %v) and %v, want dst as it was and an error", test.what, got, cap(got), got == nil, err)
				}
				if cap(dst) > 0 && bytes.Count(dst[4:cap(dst)], []byte{0}) != cap(dst)-4 {
					t.Errorf("%s: something was written behind dst", test.what)
				}
			}
		}
	})
}

// TestRequestMayBeReusedAtOnce scribbles over requests as soon as their calls
// return, most of them by a deadline in the middle of things. The handlers of
// the ledger see whether one arrives changed, and the race detector whether one
// is still read.
func TestRequestMayBeReusedAtOnce(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		c := l.Cluster(t, 2, lab.Configure(func(cfg *core.Config) { cfg.MaxOutput = 100_000 }))
		if n := c.Memory(); n != nil {
			n.SetLatency(100 * time.Microsecond) // so that calls end while they travel
		}
		var wg sync.WaitGroup
		for caller := range 16 {
			wg.Go(func() {
				r := rand.New(rand.NewPCG(uint64(caller), 1))
				conn, name := c.Conn(0, caller%4/3^1), fmt.Sprintf("caller %d", caller)
				buf := make([]byte, 0, 200_000)
				for n := range lab.Scale(100, 20, 500) {
					size := []int{100, 10_000, 33_000, 200_000}[n%4]
					call := c.Ledger.Begin(name, coretest.Job{
						Mode: coretest.Slow, For: time.Duration(r.IntN(1_000_000)), Request: size, Response: 100,
					})
					buf = append(buf[:0], call.Payload()...)
					var resp []byte
					var err error
					if timeout := time.Duration(r.IntN(2_000_000)); n%2 == 0 {
						resp, err = conn.Request(t.Context(), coretest.LedgerAppend, buf, core.WithTimeout(timeout+1))
					} else {
						ctx, cancel := context.WithTimeout(t.Context(), timeout)
						resp, err = conn.Request(ctx, coretest.LedgerHandle, buf)
						cancel()
					}
					for i := range buf {
						buf[i] = 0xEE
					}
					call.Return(resp, err)
				}
			})
		}
		wg.Wait()
		n := c.Ledger.Counts()
		t.Logf("over %s: %+v", l.Name, n)
		if l.Bubble && (n.MaybeRun == 0 || n.OK == 0) {
			t.Errorf("over %s the deadlines tell nothing: %+v, want calls that end early and calls that do not", l.Name, n)
		}
		c.CheckLedger()
	})
}

// TestKeptContexts keeps the contexts of handlers that have returned, and finds
// them ended and with their own values after many later calls.
func TestKeptContexts(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		type kept struct {
			ctx, derived context.Context
			route, peer  string
			deadline     time.Time
			timed        bool
			after        chan struct{}
		}
		const calls = 200
		all := make(chan *kept, 10*calls)
		keep := func(ctx context.Context, req []byte) ([]byte, error) {
			k := &kept{ctx: ctx, route: core.RouteFromContext(ctx), peer: core.PeerFromContext(ctx), after: make(chan struct{})}
			k.deadline, k.timed = ctx.Deadline()
			if len(req) > 0 && req[0]%2 == 0 { // else nobody ever asks for Done
				derived, cancel := context.WithCancel(ctx)
				context.AfterFunc(ctx, func() { close(k.after); cancel() })
				k.derived = derived
			}
			all <- k
			return req, nil
		}
		c := l.Cluster(t, 2, lab.Handle("keep", keep, core.WithRoute("r0")), lab.Handle("keep", keep, core.WithRoute("r1")),
			lab.Handle("keep", keep, core.WithRoute("inline"), core.WithInline()))
		round := func() {
			var wg sync.WaitGroup
			for from := range 2 {
				for i, route := range []string{"r0", "r1", "inline"} {
					wg.Go(func() {
						for n := range calls / 6 {
							opts := []core.CallOption{core.WithTimeout(time.Duration(n+1) * time.Hour)}
							size := 10 + (n+i)%5/4*50_000
							lab.MustCall(t, c.Conn(from, 1-from).Route(route), "keep", lab.Pattern(n, size), opts[:n%2]...)
						}
					})
				}
			}
			wg.Wait()
		}
		round()
		first := make([]*kept, len(all))
		for i := range first {
			first[i] = <-all
		}
		round()
		for _, k := range first {
			lab.Wait(t, k.ctx.Done(), "the context of a handler that has returned ends")
			if err := k.ctx.Err(); err != context.Canceled {
				t.Errorf("the context of a handler that has returned ended with %v, want canceled", err)
			}
			deadline, timed := k.ctx.Deadline()
			if got := core.RouteFromContext(k.ctx); got != k.route || core.PeerFromContext(k.ctx) != k.peer || timed != k.timed || !deadline.Equal(k.deadline) {
				t.Errorf("a kept context says route %q, peer %q, deadline %v, want %+v", got, core.PeerFromContext(k.ctx), deadline, k)
			}
			if k.derived != nil {
				lab.Wait(t, k.derived.Done(), "a context derived from it ends")
				lab.Wait(t, k.after, "what was to follow its end follows")
			}
			late := make(chan struct{})
			context.AfterFunc(k.ctx, func() { close(late) })
			lab.Wait(t, late, "what is to follow the end of a context that has ended follows at once")
		}
	})
}
