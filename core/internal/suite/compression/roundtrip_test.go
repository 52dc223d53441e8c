package compression_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/gridmux/gridmux/compress"
	"github.com/gridmux/gridmux/core"
	"github.com/gridmux/gridmux/core/internal/lab"
)

// sizes are around all at which something changes.
var sizes = []int{1, 63, 64, 511, 512, 4000, 16 << 10, 16<<10 + 1, 32<<10 - 1, 32 << 10, 32<<10 + 1, 64 << 10, 64<<10 + 1, 300 << 10, 2 << 20}

func payloads() (all [][]byte) {
	for i, n := range sizes[:lab.Scale(len(sizes), len(sizes)-1, len(sizes))] {
		all = append(all, text(uint64(i), n), noise(uint64(i), n), make([]byte, n))
	}
	return all
}

// TestRoundTrips holds that messages of all sizes arrive as they were sent, in both
// directions, by calls and streams of every form, with every codec, and that those
// that can be are compressed.
func TestRoundTrips(t *testing.T) {
	dict, all := dictionary(t, 1000), payloads()
	for name, codec := range map[string]*compress.Codec{
		"s2": compress.S2(), "zstd": compress.Zstd(),
		"s2 with a dictionary": compress.S2(compress.WithDictionary(dict)), "zstd with a dictionary": compress.Zstd(compress.WithDictionary(dict)),
	} {
		if lab.RaceEnabled && (codec.Name() == "s2") != (len(codec.Dictionaries()) == 0) {
			continue
		}
		t.Run(name, func(t *testing.T) {
			lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
				c := l.Cluster(t, 2, handlers(core.WithCompression(codec)))
				wantsAreKnown(t, c, 0, 1, "append")
				for _, h := range []core.HandlerID{"plain", "append", "inline"} {
					for _, p := range append(all, []byte{}) {
						wantEcho(t, c.Conn(0, 1), h, p)
					}
					wantEcho(t, c.Conn(0, 1), h, text(1, 5000), core.WithPriority(core.PriorityLow))
					wantEcho(t, c.Conn(0, 1), h, text(1, 50_000), core.WithPriority(core.PriorityLow))
				}
				wantEcho(t, c.Conn(0, 1), "plain", nil)
				for _, h := range []core.HandlerID{"stream", "channels"} {
					for i := range 3 {
						if err := exchange(t.Context(), c.Conn(1, 0), h, all[i:]); err != nil {
							t.Errorf("%s: %v", h, err)
						}
					}
				}
				for node, hs := range map[int][]core.HandlerID{0: {"plain", "append", "inline"}, 1: {"stream", "channels"}} {
					for _, h := range hs {
						caller, callee := statsOf(c.Manager(node), h), statsOf(c.Manager(1-node), h)
						for what, pair := range map[string][2]core.CompressionCount{
							"requests": {caller.Requests.Sent, callee.Requests.Received}, "responses": {callee.Responses.Sent, caller.Responses.Received},
						} {
							sent, received := pair[0], pair[1]
							if sent.Messages < 10 || sent.Packed > sent.Plain/2 || sent.Messages != received.Messages ||
								sent.Plain != received.Plain || sent.Packed != received.Packed {
								t.Errorf("%s of %s: sent %v, received %v", what, h, sent, received)
							}
						}
					}
				}
			})
		})
	}
}

// TestAppendedBehind holds that a response is appended to what stands in dst, and
// that dst is as it was when there is none.
func TestAppendedBehind(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		c := l.Cluster(t, 2, handlers(core.WithCompression(compress.Zstd())))
		for _, n := range []int{1000, 40_000, 400_000} {
			for _, room := range []int{0, n, 2 * n} {
				dst := append(make([]byte, 0, 5+room), "first"...)
				got, err := c.Conn(0, 1).AppendRequest(t.Context(), "append", text(3, n), dst)
				if err != nil || !bytes.Equal(got, append([]byte("first"), text(3, n)...)) {
					t.Errorf("%d bytes behind others, room for %d: %d bytes, %v", n, room, len(got), err)
				}
			}
		}
	})
}

// TestWhatTravels holds that the link carries the compressed messages and not those
// that they stand for, and that the statistics are true of it.
func TestWhatTravels(t *testing.T) {
	lab.OverLinks(t, func(t *testing.T, l *lab.Link) {
		c := l.Cluster(t, 2, handlers(core.WithCompression(compress.S2())))
		wantsAreKnown(t, c, 0, 1, "append")
		traffic := func() (sent, received int64) {
			for _, p := range c.Manager(0).Stats().Peers {
				if p.Peer == c.Node(1).Name {
					return p.Sent, p.Received
				}
			}
			return 0, 0
		}
		before, beforeBack := traffic()
		was := statsOf(c.Manager(0), "append")
		const n, size = 50, 20_000
		for i := range n {
			wantEcho(t, c.Conn(0, 1), "append", text(uint64(i), size))
		}
		after, afterBack := traffic()
		is := statsOf(c.Manager(0), "append")
		packed := is.Requests.Sent.Packed - was.Requests.Sent.Packed
		back := is.Responses.Received.Packed - was.Responses.Received.Packed
		if packed == 0 || packed > n*size/3 || after-before < packed || after-before > packed+n*100+1000 {
			t.Errorf("%d bytes of requests became %d, %d were sent", n*size, packed, after-before)
		}
		if back == 0 || back > n*size/3 || afterBack-beforeBack < back || afterBack-beforeBack > back+n*100+1000 {
			t.Errorf("%d bytes of responses became %d, %d were received", n*size, back, afterBack-beforeBack)
		}
		if saved, want := is.Saved()-was.Saved(), 2*n*size-packed-back; saved != want {
			t.Errorf("Saved says %d, want %d", saved, want)
		}
		if s := fmt.Sprint(c.Manager(0).Stats().Compression); !strings.Contains(s, `"append": saved`) {
			t.Errorf("in a line: %s", s)
		}
	})
}
