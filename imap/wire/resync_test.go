package wire

import (
	"math"
	"strings"
	"testing"
)

func selectOf(t *testing.T, params string) (Select, error) {
	t.Helper()
	c, err := command("a SELECT INBOX " + params + "\r\n")
	if err != nil {
		t.Fatal(err)
	}
	c.SP()
	c.Mailbox()
	s := c.Select()
	return s, c.End()
}

func TestParametersOfQResync(t *testing.T) {
	s, err := selectOf(t, "(condstore QRESYNC (67890007 90060115194045000 41:211,1 (1,3,9 42,43,49)))")
	if err != nil || !s.CondStore || s.QResync == nil {
		t.Fatal(s, err)
	}
	q := s.QResync
	if q.Validity != 67890007 || q.ModSeq != 90060115194045000 || len(q.Known) != 2 || q.Numbers.String() != "1,3,9" || q.UIDs.String() != "42,43,49" {
		t.Errorf("%+v", q)
	}
	if s, err := selectOf(t, "(QRESYNC (1 2 (1:2 3:4)))"); err != nil || s.QResync.Known != nil || len(s.QResync.UIDs) != 1 {
		t.Errorf("%+v %v", s.QResync, err)
	}
	for _, bad := range []string{
		"(QRESYNC)", "(QRESYNC ())", "(QRESYNC (1))", "(QRESYNC (0 1))", "(QRESYNC (1 0))", "(QRESYNC (1 1 *))", "(QRESYNC (1 1 1:5 (1)))",
		"(QRESYNC (1 1) QRESYNC (1 1))", "(X)", "(QRESYNC (1 1 1 (1 1) 1))", "(QRESYNC (1 1 1 (" + strings.Repeat("1,", 1001) + "1 1)))",
	} {
		if _, err := selectOf(t, bad); err == nil {
			t.Errorf("%.40s passed", bad)
		}
	}
}

func TestTheLastMatchIsLookedForWithinBounds(t *testing.T) {
	q := QResync{Numbers: Set{{1, 3}, {7, 7}, {9, math.MaxUint32}}, UIDs: Set{{10, 11}, {13, 14}, {21, math.MaxUint32}}}
	looks := 0
	n, u := q.LastMatch(100, func(number, uid uint32) bool {
		looks++
		return number <= 3
	})
	if n != 3 || u != 13 || looks != 100 {
		t.Error(n, u, looks)
	}
}

func TestSetsWithoutSomeNumbers(t *testing.T) {
	for _, c := range []struct {
		set     Set
		without []uint32
		want    string
	}{
		{Set{{1, 10}}, []uint32{1, 2, 5, 10}, "3:4,6:9"},
		{Set{{1, 3}, {5, 5}, {8, 9}}, []uint32{2, 5, 100}, "1,3,8:9"},
		{Set{{math.MaxUint32, math.MaxUint32}}, []uint32{math.MaxUint32}, ""},
		{Set{{7, math.MaxUint32}}, []uint32{9, math.MaxUint32}, "7:8,10:4294967294"},
		{nil, []uint32{1}, ""},
		{Set{{4, 6}}, nil, "4:6"},
	} {
		if got := c.set.Without(c.without).String(); got != c.want {
			t.Errorf("%v without %v: %s", c.set, c.without, got)
		}
	}
	if got := (Set{{1, 5}, {9, 12}, {20, 30}}).Within(4, 20).String(); got != "4:5,9:12,20" {
		t.Error(got)
	}
}
