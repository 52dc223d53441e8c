package compress_test

import (
	"bytes"
	"strings"
	"testing"

	"github.com/gridmux/gridmux/compress"
	"github.com/gridmux/gridmux/internal/samples"
)

// TestDictionaryHalvesRecords expects records of some 200 bytes to take at most
// half of it with a dictionary that was trained on other records, with either
// codec and at every level, and without one much more.
func TestDictionaryHalvesRecords(t *testing.T) {
	t.Parallel()
	for _, k := range samples.Kinds[:3] {
		d := trained(t, k.Name, 1)
		records := k.Records(2, 60)
		for name, c := range codecs(d) {
			var size, plain, with float64
			for _, r := range records {
				size += float64(len(r))
				plain += float64(len(c.Append(nil, r)))
				with += float64(len(c.AppendDict(nil, r, d.ID())))
			}
			t.Logf("%s, %s: records of %.0f bytes to %.2f with the dictionary, to %.2f without", k.Name, name, size/60, with/size, plain/size)
			if with > 0.5*size || plain < 0.75*size {
				t.Errorf("%s, %s: to %.2f with a dictionary, want at most 0.5; to %.2f without", k.Name, name, with/size, plain/size)
			}
		}
	}
}

// TestDictionaryOfLargeMessages expects a dictionary to do a large message no
// harm.
func TestDictionaryOfLargeMessages(t *testing.T) {
	t.Parallel()
	d := trained(t, "json", 1)
	src := samples.ByName("json").Payload(2, 150_000)
	for name, c := range codecs(d) {
		plain, with := len(c.Append(nil, src)), len(c.AppendDict(nil, src, d.ID()))
		if with > plain+plain/10 {
			t.Errorf("%s: %d bytes with a dictionary, %d without", name, with, plain)
		}
	}
}

// TestTrainIsRepeatable expects the same samples to make the same dictionary,
// and it to survive being stored.
func TestTrainIsRepeatable(t *testing.T) {
	t.Parallel()
	a, b := trained(t, "msgpack", 1), trained(t, "msgpack", 1)
	c, err := compress.ParseDictionary(a.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	if a.ID() != b.ID() || a.ID() != c.ID() || !bytes.Equal(a.Bytes(), b.Bytes()) {
		t.Errorf("ids are %016x, %016x and %016x", a.ID(), b.ID(), c.ID())
	}
	if other := trained(t, "msgpack", 2); other.ID() == a.ID() {
		t.Error("other samples make a dictionary of the same id")
	}
	if n := len(a.Bytes()); n < 8<<10 || n > 9<<10 {
		t.Errorf("the dictionary has %d bytes, want about 8 KiB", n)
	}
}

// TestTrainSizes expects dictionaries of every allowed size, and samples that
// are large, many, or few to be taken.
func TestTrainSizes(t *testing.T) {
	t.Parallel()
	json := samples.ByName("json")
	for _, test := range []struct {
		name    string
		samples [][]byte
		size    int
	}{
		{"small", json.Records(1, 100), 256},
		{"large", json.Records(1, 1000), compress.MaxDictionary - 1<<10},
		{"two samples", json.Records(1, 2), 0},
		{"large samples", [][]byte{json.Payload(1, 300_000), json.Payload(2, 300_000), {}, []byte("tiny")}, 0},
	} {
		d, err := compress.Train(test.samples, test.size)
		if err != nil {
			t.Errorf("%s: %v", test.name, err)
			continue
		}
		if test.size > 0 && len(d.Bytes()) > test.size+1<<10 {
			t.Errorf("%s: %d bytes, want about %d", test.name, len(d.Bytes()), test.size)
		}
		for _, c := range codecs(d) {
			if err := c.Err(); err != nil {
				t.Errorf("%s: %v", test.name, err)
			}
		}
	}
}

// TestImpossibleDictionaries expects an error that says what is wrong.
func TestImpossibleDictionaries(t *testing.T) {
	t.Parallel()
	json := samples.ByName("json").Records(1, 100)
	for want, train := range map[string]func() (*compress.Dictionary, error){
		"two samples or more": func() (*compress.Dictionary, error) { return compress.Train(nil, 0) },
		"at least 8 bytes":    func() (*compress.Dictionary, error) { return compress.Train([][]byte{{1}, {2}, {3}}, 0) },
		"nothing in common":   func() (*compress.Dictionary, error) { return compress.Train(samples.ByName("random").Records(1, 5), 0) },
		"dictionary of 255":   func() (*compress.Dictionary, error) { return compress.Train(json, 255) },
		"dictionary of 13107": func() (*compress.Dictionary, error) { return compress.Train(json, compress.MaxDictionary) },
		"limit 131072": func() (*compress.Dictionary, error) {
			return compress.ParseDictionary(make([]byte, compress.MaxDictionary+1))
		},
		"no dictionary": func() (*compress.Dictionary, error) {
			return compress.ParseDictionary([]byte("nothing of the kind at all"))
		},
	} {
		if d, err := train(); d != nil || err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error is %v, want %q in it", err, want)
		}
	}
}
