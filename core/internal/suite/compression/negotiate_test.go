package compression_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/gridmux/gridmux/compress"
	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/coretest"
	"github.com/gridmux/gridmux/core/internal/lab"
)

// counts is what a node has sent and received compressed of the requests and the
// responses of a handler, and what it could not compress for the other.
type counts struct{ requestsOut, requestsIn, responsesOut, responsesIn, unsupported int64 }

func countsOf(m *core.Manager, h core.HandlerID) counts {
	s := statsOf(m, h)
	return counts{
		s.Requests.Sent.Messages, s.Requests.Received.Messages, s.Responses.Sent.Messages, s.Responses.Received.Messages,
		s.Requests.Unsupported + s.Responses.Unsupported,
	}
}

// pair starts two nodes that are configured apart.
func pair(t *testing.T, l *lab.Link, config func(i int, cfg *core.Config), handle func(i int, m *core.Manager) error) *lab.Cluster {
	t.Helper()
	return l.Cluster(t, 2, coretest.WithConfig(config), coretest.WithHandlers(handle))
}

// TestMixedClusters holds nodes that are configured differently to understand each
// other, over every link: what one cannot decode the other does not send.
func TestMixedClusters(t *testing.T) {
	old, young := dictionary(t, 1), dictionary(t, 5000)
	s2, zstd := compress.S2(), compress.Zstd()
	withOld := compress.S2(compress.WithDictionary(old))
	withYoung := compress.S2(compress.WithDictionary(young))
	rolling := compress.S2(compress.WithDictionary(young, old))
	for _, test := range []struct {
		name           string
		caller, callee core.Compressor // nil: none
		requests       bool            // are compressed
		responses      bool
	}{
		{"both", s2, s2, true, true},
		{"neither", nil, nil, false, false},
		{"the caller alone", s2, nil, false, false},
		{"the callee alone", nil, s2, false, false},
		{"different codecs", s2, zstd, false, false},
		{"one with a dictionary", withOld, s2, true, true},
		{"different dictionaries", withOld, withYoung, true, true},
		{"a dictionary in common", withOld, rolling, true, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
				c := pair(t, l, func(int, *core.Config) {}, func(i int, m *core.Manager) error {
					codec := []core.Compressor{test.caller, test.callee}[i]
					if codec == nil {
						return register(m)
					}
					return register(m, core.WithCompression(codec))
				})
				if test.requests {
					wantsAreKnown(t, c, 0, 1, "append")
				}
				messages := [][]byte{text(1, 200), text(2, 2000), text(3, 20_000), text(4, 200_000), noise(5, 50_000)}
				for _, p := range messages {
					wantEcho(t, c.Conn(0, 1), "append", p)
				}
				for _, h := range []core.HandlerID{"stream", "channels"} {
					if err := exchange(t.Context(), c.Conn(0, 1), h, messages); err != nil {
						t.Errorf("%s: %v", h, err)
					}
				}
				caller, callee := countsOf(c.Manager(0), "append"), countsOf(c.Manager(1), "append")
				if (caller.requestsOut > 0) != test.requests || caller.requestsOut != callee.requestsIn {
					t.Errorf("requests: %d were sent compressed, %d received, want some: %v", caller.requestsOut, callee.requestsIn, test.requests)
				}
				if (callee.responsesOut > 0) != test.responses || callee.responsesOut != caller.responsesIn {
					t.Errorf("responses: %d were sent compressed, %d received, want some: %v", callee.responsesOut, caller.responsesIn, test.responses)
				}
				if !test.responses && test.callee != nil && callee.unsupported == 0 {
					t.Error("the callee does not say that the caller lacks its codec")
				}
			})
		})
	}
}

// TestDictionaries holds that records are compressed with a dictionary that both
// nodes have, and not with one that one of them lacks.
func TestDictionaries(t *testing.T) {
	old, young := dictionary(t, 1), dictionary(t, 5000)
	const size = 200
	for _, test := range []struct {
		name           string
		caller, callee []*compress.Dictionary
		used           bool
	}{
		{"the same", []*compress.Dictionary{old}, []*compress.Dictionary{old}, true},
		{"one in common", []*compress.Dictionary{young, old}, []*compress.Dictionary{old}, true},
		{"none in common", []*compress.Dictionary{young}, []*compress.Dictionary{old}, false},
	} {
		for name, codec := range map[string]func(d []*compress.Dictionary) *compress.Codec{
			"s2": func(d []*compress.Dictionary) *compress.Codec {
				return compress.S2(compress.WithDictionary(d[0], d[1:]...))
			},
			"zstd": func(d []*compress.Dictionary) *compress.Codec {
				return compress.Zstd(compress.WithDictionary(d[0], d[1:]...))
			},
		} {
			lab.Bubble(t, test.name+", "+name, func(t *testing.T) {
				c := pair(t, lab.InmemLink(), func(int, *core.Config) {}, func(i int, m *core.Manager) error {
					return register(m, core.WithCompression(codec([][]*compress.Dictionary{test.caller, test.callee}[i])))
				})
				wantsAreKnown(t, c, 0, 1, "append")
				before := statsOf(c.Manager(0), "append").Requests
				for i := range 100 {
					wantEcho(t, c.Conn(0, 1), "append", text(uint64(900_000+i), size))
				}
				got := statsOf(c.Manager(0), "append").Requests
				packed, n := got.Sent.Packed-before.Sent.Packed, got.Sent.Messages-before.Sent.Messages
				if (n == 100) != test.used || test.used && packed > n*size/2 {
					t.Errorf("%d records of %d bytes were compressed, to %d in all, want so: %v", n, size, packed, test.used)
				}
			})
		}
	}
}

// TestCallOptions holds that a call says how its messages are compressed, on a node
// without any handler that is, and whatever the handler wants where it may.
func TestCallOptions(t *testing.T) {
	s2, zstd := compress.S2(), compress.Zstd()
	type options = []core.CallOption
	for _, test := range []struct {
		name                string
		caller              []core.Compressor // of its Config
		handler             []core.HandlerOption
		call                options
		requests, responses bool
	}{
		{"nothing is said", nil, nil, nil, false, false},
		{"the call, of a handler that has it", nil, []core.HandlerOption{core.WithCompression(s2)}, options{core.WithCompression(compress.S2())}, true, true},
		{"the call, of a node that has it", nil, nil, options{core.WithCompression(s2)}, true, true},
		{"the configuration", []core.Compressor{s2}, []core.HandlerOption{core.WithCompression(compress.S2())}, nil, true, true},
		{"another codec than that of the handler", nil, []core.HandlerOption{core.WithCompression(zstd)}, options{core.WithCompression(s2)}, true, true},
		{"requests alone", nil, nil, options{core.WithRequestCompression(s2)}, true, false},
		{"responses alone", nil, nil, options{core.WithResponseCompression(s2)}, false, true},
		{"off, against the handler", []core.Compressor{s2}, []core.HandlerOption{core.WithCompression(s2)}, options{core.WithCompression(nil)}, false, false},
		{"responses off, against the handler", []core.Compressor{s2}, []core.HandlerOption{core.WithCompression(s2)}, options{core.WithResponseCompression(nil)}, true, false},
		{"a handler that must not answer so", nil, []core.HandlerOption{core.WithResponseCompression(nil)}, options{core.WithCompression(s2)}, true, false},
		{"a handler of requests alone", []core.Compressor{s2}, []core.HandlerOption{core.WithRequestCompression(s2)}, nil, true, false},
		{"a handler of responses alone", []core.Compressor{s2}, []core.HandlerOption{core.WithResponseCompression(s2)}, nil, false, true},
		{"a codec that the other node lacks", nil, nil, options{core.WithCompression(other{s2})}, false, false},
		{"a threshold of the call", nil, nil, options{core.WithCompression(s2), core.WithCompressionThreshold(1 << 20)}, false, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
				c := pair(t, l, func(i int, cfg *core.Config) {
					if cfg.Compressors = test.caller; i == 1 {
						cfg.Compressors = []core.Compressor{s2}
					}
				}, func(i int, m *core.Manager) error {
					if i == 0 {
						return nil
					}
					return register(m, test.handler...)
				})
				if test.requests && test.call == nil {
					wantsAreKnown(t, c, 0, 1, "append")
				}
				for _, p := range [][]byte{text(1, 3000), text(2, 300_000)} {
					wantEcho(t, c.Conn(0, 1), "append", p, test.call...)
					if err := exchange(t.Context(), c.Conn(0, 1), "stream", [][]byte{p, p, p}, test.call...); err != nil {
						t.Error(err)
					}
				}
				// CODECS and a call on another lane may overtake one another.
				for _, h := range []core.HandlerID{"append", "stream"} {
					caller, callee := countsOf(c.Manager(0), h), countsOf(c.Manager(1), h)
					if (caller.requestsOut > 0) != test.requests || (callee.responsesOut > 0) != test.responses ||
						caller.requestsOut != callee.requestsIn || caller.responsesIn != callee.responsesOut {
						t.Errorf("%s: the caller has %+v, the callee %+v, want compressed requests: %v, responses: %v",
							h, caller, callee, test.requests, test.responses)
					}
				}
			})
		})
	}
}

// other is a codec of another name.
type other struct{ *compress.Codec }

func (other) Name() string { return "other" }

// TestDeclaredOnce holds that the options of a typed method are for both sides: the
// calling node needs nothing else.
func TestDeclaredOnce(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		c := pair(t, l, func(int, *core.Config) {}, func(i int, m *core.Manager) error {
			if i == 0 {
				return nil
			}
			return compressedEcho.Handle(m, func(_ context.Context, req *blob) (*blob, error) { return req, nil })
		})
		for _, n := range []int{1000, 100_000} {
			resp, err := compressedEcho.Call(t.Context(), c.Conn(0, 1), &blob{text(1, n)})
			if err != nil || string(resp.b) != string(text(1, n)) {
				t.Fatalf("a typed call of %d bytes: %v", n, err)
			}
		}
		if got := countsOf(c.Manager(0), "typed"); got.requestsOut != 2 || got.responsesIn != 2 {
			t.Errorf("the caller has %+v, want two requests and two responses compressed", got)
		}
	})
}

// TestThreshold holds which sizes are compressed to the documentation.
func TestThreshold(t *testing.T) {
	dict := compress.S2(compress.WithDictionary(dictionary(t, 1)))
	for _, test := range []struct {
		name  string
		opts  []core.HandlerOption
		least int
	}{
		{"without a dictionary", []core.HandlerOption{core.WithCompression(compress.S2())}, 512},
		{"with one", []core.HandlerOption{core.WithCompression(dict)}, 64},
		{"set", []core.HandlerOption{core.WithCompression(compress.S2()), core.WithCompressionThreshold(2000)}, 2000},
		{"all", []core.HandlerOption{core.WithCompression(compress.S2()), core.WithCompressionThreshold(1)}, 200},
	} {
		lab.Bubble(t, test.name, func(t *testing.T) {
			c := lab.InmemLink().Cluster(t, 2, handlers(test.opts...))
			wantsAreKnown(t, c, 0, 1, "append")
			zeros := make([]byte, 3000)
			before := countsOf(c.Manager(0), "append")
			for range 5 {
				wantEcho(t, c.Conn(0, 1), "append", zeros[:test.least])
			}
			if got := countsOf(c.Manager(0), "append"); got.requestsOut != before.requestsOut+5 || got.responsesIn != before.responsesIn+5 {
				t.Errorf("of 5 messages of %d bytes %d requests and %d responses are compressed", test.least,
					got.requestsOut-before.requestsOut, got.responsesIn-before.responsesIn)
			}
			if test.name == "all" {
				return
			}
			before, small := countsOf(c.Manager(0), "append"), statsOf(c.Manager(0), "append").Requests.Small
			for range 5 {
				wantEcho(t, c.Conn(0, 1), "append", zeros[:test.least-1])
			}
			if got := countsOf(c.Manager(0), "append"); got != before {
				t.Errorf("messages of %d bytes are compressed", test.least-1)
			}
			if got := statsOf(c.Manager(0), "append").Requests.Small; got != small+5 {
				t.Errorf("%d messages count as small, want 5", got-small)
			}
		})
	}
}

// TestLocalNode holds that calls to the local node are not compressed, since nothing
// is saved by it, and get through.
func TestLocalNode(t *testing.T) {
	lab.Bubble(t, "loopback", func(t *testing.T) {
		c := lab.InmemLink().Cluster(t, 1, handlers(core.WithCompression(compress.S2())))
		m := c.Manager(0)
		own := m.Connection(m.Local().Name)
		for range 3 {
			wantEcho(t, own, "append", text(1, 50_000), core.WithCompression(compress.S2()))
			if err := exchange(t.Context(), own, "stream", [][]byte{text(1, 5000), text(2, 50_000)}); err != nil {
				t.Error(err)
			}
		}
		if got := m.Stats().Compression; got != nil {
			t.Errorf("compression of the local node: %v", got)
		}
	})
}

// TestImpossible holds that what cannot work is an error where it is asked for.
func TestImpossible(t *testing.T) {
	wrong := compress.Zstd(compress.WithWindow(12345))
	lab.Bubble(t, "", func(t *testing.T) {
		c := lab.InmemLink().Cluster(t, 2, handlers(), coretest.WithHandlers(func(i int, m *core.Manager) error {
			for name, o := range map[string]core.HandlerOption{
				"nil codec":     core.WithCompression((*compress.Codec)(nil)),
				"wrong options": core.WithCompression(wrong), "requests": core.WithRequestCompression(wrong),
				"threshold": core.WithCompressionThreshold(0), "negative threshold": core.WithCompressionThreshold(-1),
			} {
				if err := m.Handle("impossible", lab.Echo, o); err == nil {
					t.Errorf("Handle takes an option that cannot work: %s", name)
				}
			}
			for name, opts := range map[string][]core.HandlerOption{
				"a window without compression":         {core.WithSharedWindow()},
				"a window where nothing is compressed": {core.WithSharedWindow(), core.WithCompression(nil)},
				"a name that stands for a window":      {core.WithCompression(named{"x+window"})},
			} {
				if err := m.HandleStreamFunc("impossible", lab.EchoStream, opts...); err == nil {
					t.Errorf("HandleStreamFunc takes options that cannot work: %s", name)
				}
			}
			if err := m.Handle("impossible", lab.Echo, core.WithCompression(compress.Zstd()), core.WithSharedWindow()); err == nil {
				t.Error("Handle takes a window for the messages of single requests")
			}
			for n := range 17 {
				err := m.Handle(core.HandlerID("codec"+string(rune('a'+n))), lab.Echo, core.WithCompression(named{string(rune('a' + n))}))
				if (err == nil) != (n < 16) {
					t.Errorf("Handle with the codec number %d: %v, want 16 of them", n+1, err)
				}
			}
			return nil
		}))
		for name, o := range map[string]core.CallOption{
			"wrong options": core.WithCompression(wrong), "threshold": core.WithCompressionThreshold(0),
			"nil codec": core.WithCompression((*compress.Codec)(nil)),
		} {
			_, err := c.Conn(0, 1).Request(t.Context(), "append", nil, o)
			if core.OutcomeOf(err) != core.OutcomeNotSent {
				t.Errorf("a call with an option that cannot work, %s, returned %v", name, err)
			}
			if _, err = c.Conn(0, 1).OpenStream(t.Context(), "stream", nil, o); core.OutcomeOf(err) != core.OutcomeNotSent {
				t.Errorf("a stream with an option that cannot work, %s, returned %v", name, err)
			}
		}
		for _, bad := range []*compress.Codec{wrong, nil} {
			_, err := core.NewManager(core.Config{Local: c.Node(0), Transport: c.Network().Node("x"), Compressors: []core.Compressor{compress.S2(), bad}})
			if err == nil {
				t.Errorf("NewManager takes a Compressor that cannot work: %v", bad.Err())
			}
		}
	})
}

// named is a codec that does nothing.
type named struct{ name string }

func (n named) Name() string                { return n.name }
func (named) Append(dst, src []byte) []byte { return append(dst, src...) }
func (named) Decode(dst, _ []byte, _ int) ([]byte, error) {
	return dst, errors.New("nothing was compressed with it")
}

// compressedEcho is a typed method that both sides share.
var compressedEcho = core.NewUnary[blob, blob]("typed", core.WithCompression(compress.S2()), core.WithTimeout(time.Minute))

// blob is a message of bytes as they are.
type blob struct{ b []byte }

func (m *blob) MarshalMsg(dst []byte) ([]byte, error) { return append(dst, m.b...), nil }
func (m *blob) UnmarshalMsg(b []byte) ([]byte, error) { m.b = append(m.b[:0], b...); return nil, nil }
func (m *blob) Msgsize() int                          { return len(m.b) }
