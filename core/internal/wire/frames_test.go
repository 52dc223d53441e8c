package wire

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
)

// raw builds any frame, also such as the Append functions never make.
func raw(t Type, fl Flags, codec, dict uint8, id CallID, parts ...[]byte) []byte {
	n := 0
	for _, p := range parts {
		n += len(p)
	}
	b := appendHeader(nil, t, fl, id, n)
	b[6], b[7] = codec, dict
	for _, p := range parts {
		b = append(b, p...)
	}
	return b
}

func u16(v uint16) []byte { return binary.LittleEndian.AppendUint16(nil, v) }
func u32(v uint32) []byte { return binary.LittleEndian.AppendUint32(nil, v) }
func u64(v uint64) []byte { return binary.LittleEndian.AppendUint64(nil, v) }

// blocks builds what stands before a payload (W22), of a frame without a codec.
func blocks(fl Flags, size uint64, meta, payload string) []byte {
	var b []byte
	if fl&FlagFragmented != 0 {
		b = append(append(b, u64(size)...), u64(size)...)
	}
	if fl&FlagMetadata != 0 {
		b = append(append(b, u16(uint16(len(meta)))...), meta...)
	}
	if fl&FlagAccept != 0 {
		b = append(b, 2)
	}
	return append(b, payload...)
}

// codecs is what a CODECS announces.
type codecs struct {
	names []string
	dicts []Dict
}

// credit is what a CREDIT gives.
type credit struct{ messages, bytes uint32 }

// body is what a receiver gets out of a frame: one of the results of the Parse
// functions, or nil where the type has none.
func body(f *Frame) (any, error) {
	switch f.Type {
	case TypeInit:
		return ParseInit(f)
	case TypeHello:
		return ParseHello(f)
	case TypeProof:
		return ParseProof(f)
	case TypeReady:
		return nil, ParseReady(f)
	case TypePing, TypePong:
		return ParsePing(f)
	case TypeRequest:
		return ParseRequest(f)
	case TypeResponse:
		return ParseResponse(f)
	case TypeOpen:
		return ParseOpen(f)
	case TypeData:
		return ParseData(f)
	case TypeCredit:
		messages, n, err := ParseCredit(f)
		return credit{messages, n}, err
	case TypeAck:
		return ParseAck(f)
	case TypeLanes:
		return ParseLanes(f)
	case TypeCodecs:
		names, dicts, err := ParseCodecs(f)
		return codecs{names, dicts}, err
	case TypeError, TypeRefused, TypeReset, TypeGoaway, TypeReject:
		return ParseStatus(f)
	}
	return nil, nil
}

// parseAll reads a whole batch as a receiver does.
func parseAll(batch []byte) (frames []Frame, bodies []any, err error) {
	for len(batch) > 0 {
		var f Frame
		if f, batch, err = Next(batch); err != nil {
			return frames, bodies, err
		}
		v, err := body(&f)
		if err != nil {
			return frames, bodies, err
		}
		frames, bodies = append(frames, f), append(bodies, v)
	}
	return frames, bodies, nil
}

// reappend builds a frame from what was parsed of it, with the function that a
// sender uses. canonical is false where the frame contains what these functions
// do not write.
func reappend(f *Frame, v any) (b []byte, canonical bool) {
	const prio = FlagHigh | FlagLow
	first := f.Flags&FlagFragmented != 0
	whole := func(p []byte) []byte {
		if f.Codec == 0 {
			return p
		}
		return append(make([]byte, DecodedSize), p...)
	}
	rest := func(b []byte, decoded uint64, a Accept, meta []byte) []byte {
		if f.Codec != 0 {
			SetCodec(b, f.Codec, f.Dict, decoded)
		}
		return InsertMetadata(InsertAccept(b, 0, a), 0, meta)
	}
	switch v := v.(type) {
	case Request:
		if first {
			b = AppendRequestStart(nil, f.ID, v.Handler, v.Timeout, f.Flags&prio, v.Size, v.Payload)
		} else {
			b = AppendRequest(nil, f.ID, v.Handler, v.Timeout, f.Flags&prio, whole(v.Payload))
		}
		return rest(b, v.Decoded, v.Accept, v.Metadata), true
	case Response:
		if first {
			b = AppendResponseStart(nil, f.ID, v.Size, v.Payload)
		} else {
			b = AppendResponse(nil, f.ID, whole(v.Payload))
		}
		return rest(b, v.Decoded, Accept{}, nil), f.Flags&FlagMetadata == 0
	case Open:
		if first {
			b = AppendOpenStart(nil, f.ID, v.Handler, v.Timeout, v.Capacity, f.Flags&prio, v.Size, v.Payload)
		} else {
			b = AppendOpen(nil, f.ID, v.Handler, v.Timeout, v.Capacity, f.Flags&prio, whole(v.Payload))
		}
		return rest(b, v.Decoded, v.Accept, v.Metadata), true
	case Data:
		if first {
			b = AppendDataStart(nil, f.ID, v.Size, v.Payload)
		} else {
			b = AppendData(nil, f.ID, whole(v.Payload))
		}
		return rest(b, v.Decoded, Accept{}, nil), true
	case codecs:
		return AppendCodecs(nil, v.names, v.dicts), true
	case credit:
		return AppendCredit(nil, f.ID, v.messages, v.bytes), true
	case Status:
		return AppendStatus(nil, f.Type, f.ID, v), true
	case uint64:
		switch f.Type {
		case TypeAck:
			return AppendAck(nil, v), true
		case TypeLanes:
			return AppendLanes(nil, v), true
		}
		return AppendPing(nil, f.Type, v), true
	case Init:
		return AppendInit(nil, &v), len(f.Body) == initSize
	case Hello:
		return AppendHello(nil, &v), false
	case []byte:
		return AppendProof(nil, v), true
	}
	switch f.Type {
	case TypeFragment:
		return AppendFragment(nil, f.ID, f.Body), true
	case TypeReady:
		return AppendReady(nil), true
	case TypeMark:
		return AppendMark(nil), true
	case TypeEnd:
		return AppendEnd(nil, f.ID), true
	case TypeGrant:
		return AppendGrant(nil, f.ID), true
	}
	return nil, false
}

// describe is the human-readable line of a golden vector.
func describe(f *Frame) (string, error) {
	v, err := body(f)
	if err != nil {
		return "", err
	}
	s := fmt.Sprintf("%v flags=%s codec=%d dict=%d id=%v", f.Type, flagNames(f.Flags), f.Codec, f.Dict, f.ID)
	switch v := v.(type) {
	case Request:
		s += fmt.Sprintf(" handler=%#016x timeout=%d size=%d decoded=%d%s metadata=%s payload=%s",
			v.Handler, v.Timeout, v.Size, v.Decoded, accepts(v.Accept), quote(v.Metadata), quote(v.Payload))
	case Open:
		s += fmt.Sprintf(" handler=%#016x timeout=%d capacity=%d size=%d decoded=%d%s metadata=%s payload=%s",
			v.Handler, v.Timeout, v.Capacity, v.Size, v.Decoded, accepts(v.Accept), quote(v.Metadata), quote(v.Payload))
	case Data:
		s += fmt.Sprintf(" size=%d decoded=%d payload=%s", v.Size, v.Decoded, quote(v.Payload))
	case codecs:
		s += fmt.Sprintf(" names=%q dicts=%x", v.names, v.dicts)
	case credit:
		s += fmt.Sprintf(" messages=%d bytes=%d", v.messages, v.bytes)
	case Response:
		s += fmt.Sprintf(" size=%d decoded=%d metadata=%s payload=%s", v.Size, v.Decoded, quote(v.Metadata), quote(v.Payload))
	case Status:
		s += fmt.Sprintf(" code=%d message=%q detail=%s", v.Code, v.Message, quote(v.Detail))
	case Init:
		s += fmt.Sprintf(" versions=%d..%d link=%#x nonce=%x", v.MinVersion, v.MaxVersion, v.Link, v.Nonce)
	case Hello:
		s += fmt.Sprintf(" feat=%#x cluster=%q from=%q to=%q inst=%x maxframe=%d maxmsg=%d maxcalls=%d win=%d alive=%d codecs=%q dicts=%x catalogue=%x",
			uint64(v.Features), v.Cluster, v.From, v.To, v.Instance, v.MaxFrame, v.MaxMsg, v.MaxCalls,
			v.Window, v.KeepAlive, v.Codecs, v.Dicts, v.Catalogue)
	case uint64:
		s += fmt.Sprintf(" value=%#x", v)
	default:
		s += fmt.Sprintf(" body=%s", quote(f.Body))
	}
	return s, nil
}

func accepts(a Accept) string {
	if !a.Said {
		return ""
	}
	return fmt.Sprintf(" accept=%d", a.Codec)
}

func quote(b []byte) string {
	if b == nil {
		return "nil"
	}
	return fmt.Sprintf("%q", b)
}

func flagNames(f Flags) string {
	if f == 0 {
		return "-"
	}
	var out []string
	for i, name := range []string{"NIL", "METADATA", "FRAGMENTED", "HIGH", "LOW", "ACCEPT"} {
		if f&(1<<i) != 0 {
			out = append(out, name)
			f &^= 1 << i
		}
	}
	if f != 0 {
		out = append(out, fmt.Sprintf("%#02x", uint8(f)))
	}
	return strings.Join(out, "|")
}

// unhex reads a dump: pairs of digits, with comments from ";" to the end of the
// line.
func unhex(t testing.TB, dump string) []byte {
	t.Helper()
	var digits strings.Builder
	for line := range strings.Lines(dump) {
		line, _, _ = strings.Cut(line, ";")
		digits.WriteString(strings.Join(strings.Fields(line), ""))
	}
	b, err := hex.DecodeString(digits.String())
	if err != nil {
		t.Fatalf("dump is not hexadecimal: %v", err)
	}
	return b
}
