package payload_test

import (
	"bytes"
	"reflect"
	"runtime"
	"testing"

	"github.com/gridmux/gridmux/core/payload"
)

// fuzz holds of a type that a message is refused or arrives again as it was
// understood, and that it allocates in proportion to its length.
func fuzz[T any, M message[T]](f *testing.F, perByte uint64, examples ...T) {
	f.Helper()
	for _, example := range examples {
		b, err := M(&example).MarshalMsg(nil)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	for _, b := range []string{
		"", "\xc0", "\xc1", "\xdd\xff\xff\xff\xff\xc0", "\xdf\xff\xff\xff\xff\xa0\xa0", "\xdb\xff\xff\xff\xffab", "\xc6\xff\xff\xff\xffab",
		"\x91\x91\x91\x91\xc0", "\x82\xa1a\xa0\xa1a\xa0", "\xa8[[[1,2]]]", "\xdc\x00\x02\xc0\xc0",
	} {
		f.Add([]byte(b))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		var before, after runtime.MemStats
		var value T
		message := bytes.Clone(b)
		runtime.ReadMemStats(&before)
		rest, err := M(&value).UnmarshalMsg(message)
		runtime.ReadMemStats(&after)
		if got, bound := after.TotalAlloc-before.TotalAlloc, 256<<10+perByte*uint64(len(b)); got > bound {
			t.Fatalf("%d bytes allocated for a message of %d, bound %d", got, len(b), bound)
		}
		if err != nil {
			return
		}
		if !bytes.HasSuffix(b, rest) {
			t.Fatalf("%x is left, which is not the end of the message", rest)
		}
		if _, err := M(&value).UnmarshalMsg(message[: len(message)-len(rest) : len(message)-len(rest)]); err != nil {
			t.Fatalf("without what is behind it: %v", err)
		}
		clear(message)
		again, err := M(&value).MarshalMsg(nil)
		if err != nil {
			t.Fatalf("what was decoded cannot be encoded: %v", err)
		}
		var second T
		if rest, err := M(&second).UnmarshalMsg(again); err != nil || len(rest) > 0 {
			t.Fatalf("what was encoded cannot be decoded: %d bytes left, %v", len(rest), err)
		}
		if !reflect.DeepEqual(value, second) {
			t.Fatalf("%#v became %#v", value, second)
		}
	})
}

func FuzzBytes(f *testing.F) { fuzz(f, 4, payload.Bytes{}, payload.Bytes("abc")) }

func FuzzStrings(f *testing.F) { fuzz(f, 128, payload.Strings{}, payload.Strings{"a": "b", "c": "d"}) }

func FuzzValues(f *testing.F) {
	fuzz(f, 128, payload.Values{}, payload.Values{"a": nil, "b": {}, "c": {"d", "e"}})
}

func FuzzNone(f *testing.F) { fuzz(f, 1, payload.None{}) }

func FuzzJSON(f *testing.F) {
	fuzz(f, 256, payload.JSON[config]{Value: config{Name: "a", Peers: []string{"b"}, Extra: map[string]any{"c": []any{1}}}})
}

func FuzzArray(f *testing.F) { fuzz(f, 128, disks{}, disks{nil, {}, {"a": "b"}}) }
