package wire

import (
	"bytes"
	"testing"
)

func BenchmarkAppendRequest(b *testing.B) {
	payload := bytes.Repeat([]byte("p"), 512)
	var buf []byte
	b.SetBytes(int64(len(payload)))
	b.ReportAllocs()
	for b.Loop() {
		buf = AppendRequest(buf[:0], goldenID, goldenHandler, goldenTimeout, 0, payload)
	}
}

func BenchmarkParseRequest(b *testing.B) {
	batch := AppendRequest(nil, goldenID, goldenHandler, goldenTimeout, 0, make([]byte, 512))
	b.SetBytes(512)
	b.ReportAllocs()
	for b.Loop() {
		f, _, err := Next(batch)
		if err != nil {
			b.Fatal(err)
		}
		if r, err := ParseRequest(&f); err != nil || r.Handler != goldenHandler {
			b.Fatal(err)
		}
	}
}

func BenchmarkNext(b *testing.B) {
	batch := AppendRequest(nil, goldenID, goldenHandler, goldenTimeout, 0, make([]byte, 512))
	for b.Loop() {
		if _, _, err := Next(batch); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseFragment(b *testing.B) {
	batch := AppendFragment(nil, goldenID, make([]byte, 32<<10))
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := Next(batch); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAppendData(b *testing.B) {
	msg := bytes.Repeat([]byte("m"), 512)
	var buf []byte
	b.SetBytes(int64(len(msg)))
	b.ReportAllocs()
	for b.Loop() {
		buf = AppendData(buf[:0], goldenID, msg)
	}
}

func BenchmarkParseData(b *testing.B) {
	batch := AppendData(nil, goldenID, make([]byte, 512))
	b.SetBytes(512)
	b.ReportAllocs()
	for b.Loop() {
		f, _, err := Next(batch)
		if err != nil {
			b.Fatal(err)
		}
		if d, err := ParseData(&f); err != nil || len(d.Payload) != 512 {
			b.Fatal(err)
		}
	}
}

func BenchmarkParseCredit(b *testing.B) {
	batch := AppendCredit(nil, goldenID, 8, 4096)
	b.ReportAllocs()
	for b.Loop() {
		f, _, err := Next(batch)
		if err != nil {
			b.Fatal(err)
		}
		if messages, _, err := ParseCredit(&f); err != nil || messages != 8 {
			b.Fatal(err)
		}
	}
}

func BenchmarkCheckBatch(b *testing.B) {
	batch := AppendRequest(make([]byte, ChecksumSize), goldenID, goldenHandler, goldenTimeout, 0, make([]byte, 512))
	PutChecksum(batch)
	b.SetBytes(int64(len(batch)))
	for b.Loop() {
		if _, ok := CheckBatch(batch); !ok {
			b.Fatal("checksum does not match")
		}
	}
}

func BenchmarkParseHello(b *testing.B) {
	f, _, err := Next(AppendHello(nil, goldenHello()))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseHello(&f); err != nil {
			b.Fatal(err)
		}
	}
}
