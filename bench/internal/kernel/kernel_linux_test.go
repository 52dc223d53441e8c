package kernel

import "testing"

// TestNumber expects nothing of a kernel's release but its number.
func TestNumber(t *testing.T) {
	t.Parallel()
	for release, want := range map[string]string{
		"6.18.44-fc-v595":                    "6.18.44",
		"5.15.0-91-generic":                  "5.15.0",
		"4.18.0-553.el8_10.x86_64":           "4.18.0",
		"5.15.153.1-microsoft-standard-WSL2": "5.15.153",
		"6.1+":                               "6.1",
		"7.0-rc3":                            "7.0",
		"6.1.2.":                             "6.1.2",
		"":                                   "",
		"custom-6.1":                         "",
	} {
		if got := number(release); got != want {
			t.Errorf("%q: %q, want %q", release, got, want)
		}
	}
	if v := Version(); v == "" || v != number(v) {
		t.Errorf("this one is %q", v)
	}
}
