package wire

import (
	"testing"
	"unicode/utf8"
)

func TestNamesInModifiedUTF7(t *testing.T) {
	for coded, plain := range map[string]string{
		"": "", "INBOX.work": "INBOX.work", "a&-b": "a&b", "&-": "&", "&-&-": "&&", "~peter/mail/&U,BTFw-/&ZeVnLIqe-": "~peter/mail/台北/日本語",
		"&2D3eAA-": "😀", "Gr&APwA3w-e": "Grüße", "a&AAo-b": "a\nb",
	} {
		if got, ok := FromUTF7(coded); !ok || got != plain {
			t.Errorf("%q: %q, %v", coded, got, ok)
		}
		if got, ok := ToUTF7(plain); !ok || got != coded {
			t.Errorf("%q: %q, %v", plain, got, ok)
		}
	}
	for _, bad := range []string{"&", "a&b", "&Jjo", "&Jjo!", "&U,BTFw-&ZeVnLIqe-", "&AGE-", "&2D0-", "&AA-", "&AAAA=-", "ü", "\x01", "&APx-"} {
		if got, ok := FromUTF7(bad); ok {
			t.Errorf("%q is %q", bad, got)
		}
	}
	if got, ok := ToUTF7("\xff"); ok {
		t.Errorf("no UTF-8 is %q", got)
	}
}

func FuzzUTF7(f *testing.F) {
	f.Add("a&-b&U,BTFw-")
	f.Add("Grüße & 😀")
	f.Fuzz(func(t *testing.T, name string) {
		if plain, ok := FromUTF7(name); ok {
			if again, ok := ToUTF7(plain); !ok || again != name {
				t.Errorf("%q becomes %q and %q", name, plain, again)
			}
		}
		coded, ok := ToUTF7(name)
		if ok != utf8.ValidString(name) {
			t.Errorf("%q: %v", name, ok)
		}
		if !ok {
			return
		}
		if again, ok := FromUTF7(coded); !ok || again != name {
			t.Errorf("%q becomes %q and %q", name, coded, again)
		}
	})
}
