//go:build !race

package compression_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"io"
	"testing"

	"github.com/gridmux/gridmux/compress"
	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/coretest"
	"github.com/gridmux/gridmux/core/internal/lab"
)

// measured are the links over which allocations are counted.
func measured(t *testing.T, f func(t *testing.T, l *lab.Link)) {
	for _, l := range lab.Links {
		if l.Name == "inmem" || l.Name == "websocket-tcp" {
			t.Run(l.Name, func(t *testing.T) { f(t, l) })
		}
	}
}

func codecs(t *testing.T) map[string]core.Compressor {
	dict := compress.WithDictionary(dictionary(t, 1))
	return map[string]core.Compressor{
		"s2": compress.S2(), "zstd": compress.Zstd(), "s2 with a dictionary": compress.S2(dict), "zstd with a dictionary": compress.Zstd(dict),
	}
}

// TestAllocationsOfCalls holds compressed calls, both ends together, to what calls
// cost without: one allocation for AppendRequest, and for large messages no more than
// without either.
func TestAllocationsOfCalls(t *testing.T) {
	measured(t, func(t *testing.T, l *lab.Link) {
		large := largeAllocations(t, l, 200<<10)
		for name, codec := range codecs(t) {
			c := l.Cluster(t, 2, handlers(core.WithCompression(codec)))
			wantsAreKnown(t, c, 0, 1, "append")
			option := []core.CallOption{core.WithCompression(codec)}
			for _, size := range []int{200, 4 << 10, 200 << 10} {
				req := text(1, size)
				dst := make([]byte, 0, size+256<<10)
				most, calls := 1.0, 1000
				if size > 32<<10 {
					most, calls = large, 100
				}
				for _, h := range []core.HandlerID{"append", "inline"} {
					for how, opts := range map[string][]core.CallOption{"by the handler": nil, "by the call": option} {
						got := lab.LeastAllocations(1, calls, most, func(_, times int) {
							for range times {
								resp, err := c.Conn(0, 1).AppendRequest(t.Context(), h, req, dst[:0], opts...)
								if err != nil || !bytes.Equal(resp, req) {
									t.Fatalf("a call returned %d bytes, %v", len(resp), err)
								}
							}
						})
						if got > most+0.1 {
							t.Errorf("%s, %s of %d bytes, wanted %s: %.2f allocations, want at most %.2f", name, h, size, how, got, most)
						}
					}
				}
			}
			if s := statsOf(c.Manager(0), "append"); s.Requests.Sent.Messages == 0 || s.Responses.Received.Messages == 0 {
				t.Errorf("%s: nothing was compressed: %v", name, s)
			}
		}
	})
}

// TestAllocationsOfAnOptionForOneCall expects an option that is made anew for each call
// to cost itself and nothing else: one allocation more than one that is kept.
func TestAllocationsOfAnOptionForOneCall(t *testing.T) {
	for name, codec := range codecs(t) {
		c := lab.InmemLink().Cluster(t, 2, handlers(core.WithCompression(codec)))
		req := text(1, 4<<10)
		dst := make([]byte, 0, len(req)+256<<10)
		for how, option := range map[string]func(core.Compressor) core.Option{
			"WithCompression": core.WithCompression, "WithRequestCompression": core.WithRequestCompression,
		} {
			kept, opts := option(codec), make([]core.CallOption, 1)
			count := func(most float64, next func() core.CallOption) float64 {
				return lab.LeastAllocations(1, 1000, most, func(_, times int) {
					for range times {
						opts[0] = next()
						resp, err := c.Conn(0, 1).AppendRequest(t.Context(), "append", req, dst[:0], opts...)
						if err != nil || !bytes.Equal(resp, req) {
							t.Fatalf("a call returned %d bytes, %v", len(resp), err)
						}
					}
				})
			}
			before := count(1, func() core.CallOption { return kept })
			got := count(before+1, func() core.CallOption { return option(codec) })
			if got > before+1.1 {
				t.Errorf("%s of %s, made for each call: %.2f allocations, want one more than %.2f", how, name, got, before)
			}
		}
		if s := statsOf(c.Manager(0), "append"); s.Requests.Sent.Messages < 1000 {
			t.Errorf("%s: nothing was compressed: %v", name, s)
		}
	}
}

// largeAllocations is what a large call costs without compression.
func largeAllocations(t *testing.T, l *lab.Link, size int) float64 {
	c := l.Cluster(t, 2, handlers())
	req, dst := text(1, size), make([]byte, 0, size)
	return lab.LeastAllocations(1, 400, 0, func(_, times int) {
		for range times {
			if _, err := c.Conn(0, 1).AppendRequest(t.Context(), "append", req, dst); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// withWindow names the codec that TestAllocationsOfMessages uses with a shared window.
const withWindow = "zstd with a window"

// TestAllocationsOfMessages holds compressed Send and Recv to no allocation per
// message, at both ends together, also where they share a window.
func TestAllocationsOfMessages(t *testing.T) {
	longest := text(1, 30<<10)
	measured(t, func(t *testing.T, l *lab.Link) {
		all := codecs(t)
		all[withWindow] = compress.Zstd()
		for name, codec := range all {
			c := l.Cluster(t, 2, coretest.WithHandlers(func(_ int, m *core.Manager) error {
				opts := []core.HandlerOption{core.WithCompression(codec)}
				if name == withWindow {
					opts = append(opts, core.WithSharedWindow())
				}
				return m.HandleStreamFunc("send", func(_ context.Context, payload []byte, s *core.RawStream) error {
					p := longest[:binary.LittleEndian.Uint32(payload[4:])]
					for range binary.LittleEndian.Uint32(payload) {
						if err := s.Send(p); err != nil {
							return err
						}
					}
					return nil
				}, opts...)
			}))
			for _, size := range []int{200, 512, 4 << 10, 30 << 10} {
				payload := binary.LittleEndian.AppendUint32(nil, 4000)
				payload = binary.LittleEndian.AppendUint32(payload, uint32(size))
				buf := make([]byte, 0, size+1)
				got := lab.LeastAllocations(1, 4000, 0.05, func(int, int) {
					st, err := c.Conn(0, 1).OpenStream(t.Context(), "send", payload)
					if err != nil {
						t.Fatal(err)
					}
					for err == nil {
						_, err = st.Recv(buf)
					}
					if err != io.EOF {
						t.Fatal(err)
					}
				})
				if got > 0.05 {
					t.Errorf("%s: %.3f allocations for a message of %d bytes, want none", name, got, size)
				}
			}
			if s := statsOf(c.Manager(0), "send"); s.Responses.Received.Messages == 0 {
				t.Errorf("%s: nothing was compressed", name)
			}
		}
	})
}
