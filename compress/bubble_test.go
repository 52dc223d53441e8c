package compress_test

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gridmux/gridmux/compress"
)

// makers make the codecs of the tests with bubbles.
func makers(d *compress.Dictionary) map[string]func() *compress.Codec {
	return map[string]func() *compress.Codec{
		"zstd": func() *compress.Codec {
			return compress.Zstd(compress.WithConcurrency(2), compress.WithDictionary(d))
		},
		"s2": func() *compress.Codec {
			return compress.S2(compress.WithConcurrency(2), compress.WithDictionary(d))
		},
	}
}

// TestBubbles expects a codec to serve two bubbles and the goroutines outside at
// the same time, whether it was made outside or in one of them. If a channel
// crossed a border, the runtime would end the process.
func TestBubbles(t *testing.T) {
	d := trained(t, "json", 1)
	for name, makeCodec := range makers(d) {
		for where, c := range map[string]*compress.Codec{
			"outside": makeCodec(), "outside, used": used(t, makeCodec()), "inside": nil, "inside, used": nil,
		} {
			t.Run(name+" made "+where, func(t *testing.T) {
				if c == nil {
					synctest.Test(t, func(t *testing.T) {
						if c = makeCodec(); where == "inside, used" {
							used(t, c)
						}
					})
				}
				var wg sync.WaitGroup
				for g := range uint64(4) {
					wg.Go(func() { exchange(t, c, g) })
					wg.Go(func() {
						synctest.Test(t, func(t *testing.T) {
							for i := range uint64(4) {
								go func() {
									time.Sleep(time.Hour) // of the bubble
									exchange(t, c, 10*g+i)
								}()
							}
							time.Sleep(2 * time.Hour)
							synctest.Wait()
						})
					})
				}
				wg.Wait()
				exchange(t, c, 99)
			})
		}
	}
}

func used(t *testing.T, c *compress.Codec) *compress.Codec {
	t.Helper()
	exchange(t, c, 98)
	return c
}
