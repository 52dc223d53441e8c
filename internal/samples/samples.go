// Package samples generates payloads that look like those of real programs, the
// same for the same seed. Their fields vary as those of programs do: some are
// random, most are used again and again. The tests and the tables of package
// compress are made with them, and the bench tool measures compression with them.
package samples

import (
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"math/rand/v2"
)

// Kind is a kind of payload.
type Kind struct {
	Name   string
	record func(b []byte, r *rand.Rand) []byte
}

// Kinds are all of them. Random stands for what is compressed or encrypted
// already, images for example.
var Kinds = []Kind{
	{"json", appendJSON},
	{"log", appendLog},
	{"msgpack", appendMsgpack},
	{"random", appendRandom},
}

// ByName returns the kind of that name.
func ByName(name string) Kind {
	for _, k := range Kinds {
		if k.Name == name {
			return k
		}
	}
	return Kind{}
}

// Records returns n records of about 200 bytes. Different seeds make different
// records of the same kind.
func (k Kind) Records(seed uint64, n int) [][]byte {
	r := rand.New(rand.NewPCG(seed, 1))
	records := make([][]byte, n)
	for i := range records {
		records[i] = k.record(nil, r)
	}
	return records
}

// Payload returns a message of exactly size bytes that consists of records.
func (k Kind) Payload(seed uint64, size int) []byte {
	r := rand.New(rand.NewPCG(seed, 2))
	b := make([]byte, 0, size+512)
	for len(b) < size {
		b = append(k.record(b, r), '\n')
	}
	return b[:size]
}

func pick(r *rand.Rand, words ...string) string { return words[r.IntN(len(words))] }

// skewed returns a number below n, small ones more often, as names and paths
// are used in practice.
func skewed(r *rand.Rand, n int) int { return int(float64(n) * math.Pow(r.Float64(), 3)) }

func appendJSON(b []byte, r *rand.Rand) []byte {
	b = fmt.Appendf(b, `{"id":"ord-%08d","customer":{"id":%d,"tier":%q},"status":%q,"items":[`,
		r.IntN(100_000_000), skewed(r, 500_000), pick(r, "free", "plus", "business"), pick(r, "paid", "shipped", "cancelled", "pending"))
	for i := range 1 + r.IntN(2) {
		if i > 0 {
			b = append(b, ',')
		}
		b = fmt.Appendf(b, `{"sku":"%s-%04d","quantity":%d,"price":%d.%02d}`,
			pick(r, "SHOE", "SHIRT", "LAMP", "CHAIR", "BOOK"), skewed(r, 10_000), 1+skewed(r, 9), skewed(r, 300), r.IntN(100))
	}
	return fmt.Appendf(b, `],"currency":%q,"created_at":"2026-%02d-%02dT%02d:%02d:%02dZ"}`,
		pick(r, "EUR", "USD", "JPY"), 1+r.IntN(12), 1+r.IntN(28), r.IntN(24), r.IntN(60), r.IntN(60))
}

func appendLog(b []byte, r *rand.Rand) []byte {
	b = fmt.Appendf(b, `time=2026-11-26T%02d:%02d:%02d.%03dZ level=%s msg=%q node=storage-%02d volume=/data/disk%d `,
		r.IntN(24), r.IntN(60), r.IntN(60), r.IntN(1000), pick(r, "INFO", "INFO", "INFO", "WARN", "DEBUG"),
		pick(r, "object written", "object read", "lease renewed", "read repaired after checksum mismatch", "multipart upload completed"),
		1+skewed(r, 40), 1+r.IntN(8))
	return fmt.Appendf(b, `bucket=%s key=%s/%04d/part-%05d.parquet size=%d took=%d.%02dms request=%08x`,
		pick(r, "telemetry", "backups", "invoices"), pick(r, "daily", "hourly", "adhoc"), skewed(r, 3000), skewed(r, 20_000),
		r.IntN(1<<26), skewed(r, 400), r.IntN(100), r.Uint32())
}

func appendMsgpack(b []byte, r *rand.Rand) []byte {
	str := func(s string) {
		if len(s) < 32 {
			b = append(b, 0xa0|byte(len(s)))
		} else {
			b = append(b, 0xd9, byte(len(s)))
		}
		b = append(b, s...)
	}
	integer := func(n int) {
		switch {
		case n < 128:
			b = append(b, byte(n))
		case n < 1<<16:
			b = binary.BigEndian.AppendUint16(append(b, 0xcd), uint16(n))
		default:
			b = binary.BigEndian.AppendUint32(append(b, 0xce), uint32(n))
		}
	}
	b = append(b, 0x89)
	str("volume")
	str("pool-" + pick(r, "fast", "cold", "archive"))
	str("path")
	str(fmt.Sprintf("tenants/%04d/%s/%06d", skewed(r, 2000), pick(r, "images", "documents", "exports"), skewed(r, 400_000)))
	str("size")
	integer(skewed(r, 1<<26))
	str("modified")
	b = binary.BigEndian.AppendUint32(append(b, 0xd6, 0xff), 1_795_000_000+uint32(r.IntN(2_000_000)))
	str("checksum")
	sum := make([]byte, 8)
	binary.BigEndian.PutUint64(sum, r.Uint64())
	str(hex.EncodeToString(sum))
	str("version")
	integer(1 + skewed(r, 200))
	str("erasure_set")
	integer(r.IntN(64))
	str("deleted")
	b = append(b, 0xc2|byte(skewed(r, 2)))
	str("content_type")
	str(pick(r, "image/png", "application/pdf", "application/octet-stream", "text/csv"))
	return b
}

func appendRandom(b []byte, r *rand.Rand) []byte {
	for range 25 {
		b = binary.LittleEndian.AppendUint64(b, r.Uint64())
	}
	return b
}
