package wire

import (
	"bytes"
	"errors"
	"math"
	"reflect"
	"testing"
	"unicode/utf8"
)

// Every target holds that a parser does not panic, fails with ErrMalformed only,
// and that what it accepted becomes the same bytes again where these bytes are
// the canonical ones. The corpus are the golden vectors, and inputs that once
// found something in testdata/fuzz.

// seeds returns the frames of the golden vectors.
func seeds(f *testing.F) (out [][]byte) {
	for file := range goldenFiles() {
		if file == "exchange" {
			continue
		}
		vectors, _ := readGolden(f, file)
		for _, v := range vectors {
			out = append(out, v.data)
		}
	}
	return out
}

// FuzzNext: W1 W10 a batch becomes frames that put together are the batch.
func FuzzNext(f *testing.F) {
	var all []byte
	for _, b := range seeds(f) {
		f.Add(b)
		f.Add(b[:len(b)-1])
		all = append(all, b...)
	}
	f.Add(all)
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, batch []byte) {
		input := bytes.Clone(batch)
		var rebuilt []byte
		rest := batch
		for len(rest) > 0 {
			var fr Frame
			var err error
			if fr, rest, err = Next(rest); err != nil {
				mustBeMalformed(t, err)
				if rest != nil || fr.Body != nil {
					t.Fatalf("Next returns %+v with %v", fr, err)
				}
				break
			}
			rebuilt = append(rebuilt, raw(fr.Type, fr.Flags, fr.Codec, fr.Dict, fr.ID, fr.Body)...)
			v, err := body(&fr)
			if err != nil {
				mustBeMalformed(t, err)
				continue
			}
			checkReappend(t, &fr, v)
		}
		if !bytes.HasPrefix(input, rebuilt) || rest != nil && len(rebuilt) != len(input) {
			t.Fatalf("frames put together are % x, the batch is % x", rebuilt, input)
		}
		if !bytes.Equal(batch, input) {
			t.Fatal("parsing changed the batch")
		}
	})
}

func mustBeMalformed(t *testing.T, err error) {
	t.Helper()
	if !errors.Is(err, ErrMalformed) {
		t.Fatalf("%v does not match ErrMalformed", err)
	}
	// Errors are logged, and end in the reason for closing: a peer must not
	// choose how long they are.
	if n := len(err.Error()); n > 512 {
		t.Fatalf("error of %d bytes: %.600s", n, err)
	}
}

// checkReappend builds a frame again, and holds it to the bytes it was parsed
// from if they are canonical, else to its meaning.
func checkReappend(t *testing.T, f *Frame, v any) {
	t.Helper()
	b, canonical := reappend(f, v)
	if b == nil {
		return
	}
	if canonical {
		if want := raw(f.Type, f.Flags, f.Codec, f.Dict, f.ID, f.Body); !bytes.Equal(b, want) {
			t.Fatalf("%v became % x, want % x", f.Type, b, want)
		}
		return
	}
	g, rest, err := Next(b)
	if err != nil || len(rest) != 0 {
		t.Fatalf("%v cannot be read after it was written: %v", f.Type, err)
	}
	again, err := body(&g)
	if err != nil {
		t.Fatalf("%v cannot be read after it was written: %v", f.Type, err)
	}
	// What the Append functions cannot express is left out of the comparison.
	if x, ok := v.(Response); ok {
		x.Metadata = nil
		v = x
	}
	if !reflect.DeepEqual(again, v) {
		t.Fatalf("%v became %+v, want %+v", f.Type, again, v)
	}
}

// fuzzBody feeds flags, codec and body of a type to its parser.
func fuzzBody(f *testing.F, types []Type, more func(t *testing.T, fr *Frame, v any)) {
	for _, b := range seeds(f) {
		for i, ty := range types {
			if Type(b[4]) == ty {
				f.Add(uint8(i), b[5], b[6], b[HeaderSize:])
			}
		}
	}
	f.Fuzz(func(t *testing.T, k, flags, codec uint8, b []byte) {
		ty, id := types[int(k)%len(types)], goldenID
		if belongsToNoCall(ty) {
			id = 0
		}
		fr, _, err := Next(raw(ty, Flags(flags)&allowedFlags(ty), codec, 0, id, b))
		if err != nil {
			mustBeMalformed(t, err)
			return
		}
		v, err := body(&fr)
		if err != nil {
			mustBeMalformed(t, err)
			return
		}
		more(t, &fr, v)
		checkReappend(t, &fr, v)
	})
}

// FuzzRequest: W20 W22 the payload is the end of the body, and sizes agree.
func FuzzRequest(f *testing.F) {
	fuzzBody(f, []Type{TypeRequest}, func(t *testing.T, fr *Frame, v any) {
		r := v.(Request)
		checkPayload(t, fr, r.Size, r.Decoded, r.Metadata, r.Payload)
	})
}

// FuzzResponse: W21 W22 as FuzzRequest.
func FuzzResponse(f *testing.F) {
	fuzzBody(f, []Type{TypeResponse}, func(t *testing.T, fr *Frame, v any) {
		r := v.(Response)
		checkPayload(t, fr, r.Size, r.Decoded, r.Metadata, r.Payload)
	})
}

// FuzzOpen: W80 as FuzzRequest, and the capacity is in its range.
func FuzzOpen(f *testing.F) {
	fuzzBody(f, []Type{TypeOpen}, func(t *testing.T, fr *Frame, v any) {
		o := v.(Open)
		if o.Capacity == 0 || o.Capacity > MaxCapacity {
			t.Fatalf("capacity of %d messages", o.Capacity)
		}
		checkPayload(t, fr, o.Size, o.Decoded, o.Metadata, o.Payload)
	})
}

// FuzzData: W81 as FuzzResponse, and a message is never nil.
func FuzzData(f *testing.F) {
	fuzzBody(f, []Type{TypeData}, func(t *testing.T, fr *Frame, v any) {
		d := v.(Data)
		checkPayload(t, fr, d.Size, d.Decoded, nil, d.Payload)
	})
}

// FuzzFlow: W44 W45 W82 W83 W91 the frames that carry numbers or nothing.
func FuzzFlow(f *testing.F) {
	fuzzBody(f, []Type{TypeMark, TypeAck, TypeLanes, TypeCredit, TypeEnd, TypeGrant}, func(t *testing.T, fr *Frame, v any) {
		switch fr.Type {
		case TypeCredit:
			if v == (credit{}) {
				t.Fatal("CREDIT of nothing")
			}
		case TypeMark, TypeEnd, TypeGrant:
			if len(fr.Body) != 0 {
				t.Fatalf("%v of %d bytes", fr.Type, len(fr.Body))
			}
		default:
		}
	})
}

func checkPayload(t *testing.T, fr *Frame, size, decoded uint64, meta, payload []byte) {
	t.Helper()
	if !bytes.HasSuffix(fr.Body, payload) || len(meta) > MaxMetadata {
		t.Fatalf("payload of %d bytes, metadata of %d, body of %d", len(payload), len(meta), len(fr.Body))
	}
	if (payload == nil) != (fr.Flags&FlagNil != 0) || (meta == nil) != (fr.Flags&FlagMetadata == 0) {
		t.Fatalf("flags %s with payload %v, metadata %v", flagNames(fr.Flags), payload, meta)
	}
	n, least := uint64(len(payload)), size
	if fr.Codec != 0 {
		least++
		if fr.Type == TypeData && fr.Flags == 0 && fr.Dict == 0 { // as only a message in a window is (W98)
			least = max(1, size-min(size, WindowExcess))
		}
	}
	if fr.Flags&FlagFragmented == 0 && size != n || fr.Flags&FlagFragmented != 0 && (n == 0 || n >= size) ||
		fr.Codec == 0 && decoded != size || decoded < least {
		t.Fatalf("payload of %d bytes, size %d, decoded %d, flags %s", n, size, decoded, flagNames(fr.Flags))
	}
}

// FuzzCodecs: W94 what is announced is within the limits.
func FuzzCodecs(f *testing.F) {
	fuzzBody(f, []Type{TypeCodecs}, func(t *testing.T, _ *Frame, v any) {
		c := v.(codecs)
		if len(c.names) > MaxCodecs || len(c.dicts) > MaxDicts || len(c.names)+len(c.dicts) == 0 {
			t.Fatalf("%d names, %d dictionaries", len(c.names), len(c.dicts))
		}
		for _, name := range c.names {
			if name == "" || len(name) > MaxCodecName || !utf8.ValidString(name) {
				t.Fatalf("name %q", name)
			}
		}
	})
}

// FuzzStatus: W31 what comes out is within the limits.
func FuzzStatus(f *testing.F) {
	fuzzBody(f, []Type{TypeError, TypeRefused, TypeReset, TypeGoaway, TypeReject}, func(t *testing.T, _ *Frame, v any) {
		s := v.(Status)
		if !utf8.ValidString(s.Message) || len(s.Message) > MaxStatusMessage || len(s.Detail) > MaxStatusDetail {
			t.Fatalf("status %+v", s)
		}
	})
}

// FuzzInit: W51 a later version's additions are ignored.
func FuzzInit(f *testing.F) {
	fuzzBody(f, []Type{TypeInit}, func(t *testing.T, fr *Frame, v any) {
		longer := Frame{Type: TypeInit, Body: append(bytes.Clone(fr.Body), "more"...)}
		if again, err := ParseInit(&longer); err != nil || again != v.(Init) {
			t.Fatalf("longer INIT: %+v, %v, want %+v", again, err, v)
		}
	})
}

// FuzzProof: W58 a proof is at most as long as is allowed.
func FuzzProof(f *testing.F) {
	fuzzBody(f, []Type{TypeProof}, func(t *testing.T, fr *Frame, v any) {
		if p := v.([]byte); len(p) > MaxProof || !bytes.Equal(p, fr.Body) {
			t.Fatalf("proof of %d bytes in a body of %d", len(p), len(fr.Body))
		}
	})
}

// FuzzHello: W52 the body is the map alone; its checksum is made here, or no
// input would get past it.
func FuzzHello(f *testing.F) {
	for _, b := range seeds(f) {
		if Type(b[4]) == TypeHello {
			f.Add(b[HeaderSize : len(b)-4])
		}
	}
	for _, c := range unknownFields() {
		f.Add(c.data[HeaderSize : len(c.data)-4])
	}
	f.Fuzz(func(t *testing.T, m []byte) {
		fr, _, err := Next(helloFrame(m))
		if err != nil {
			t.Fatal(err)
		}
		h, err := ParseHello(&fr)
		if err != nil {
			mustBeMalformed(t, err)
			return
		}
		if h.From == "" || h.To == "" || max(len(h.From), len(h.To), len(h.Cluster)) > MaxName ||
			len(h.Codecs) > MaxCodecs || len(h.Dicts) > MaxDicts || h.MaxFrame < MinMaxFrame || h.MaxMsg > math.MaxInt64 ||
			h.Window == 0 || h.Window > MaxWindow {
			t.Fatalf("HELLO %+v", h)
		}
		checkReappend(t, &fr, h)
	})
}
