// Command bench measures a relay as its clients feel it, and compares with a
// recorded run.
//
// It runs bin/barid as a process of its own on one processor and loads it from
// another, over TLS 1.3 on loopback, with messages of 5 kB of PGP/MIME, in a
// fresh data directory for each scenario. Absolute figures say as much about
// the machine as about the relay: compare within one machine.
//
// What is measured:
//
//	latency    from the first octet of MAIL FROM to the untagged EXISTS at a
//	           client in IDLE; one pair after the other's answer, and 20 pairs
//	           at 45 messages a second
//	deliver    messages of 16 senders, each sending as soon as it may
//	submit     the same with messages of 10 kB
//	fanout     the same with 10 recipients each
//	idle       growth of the server's PSS per TLS connection in IDLE, with the
//	           hello that the Delta Chat core sends and with a post-quantum one,
//	           beside a bare TLS loop: -settle after the last login, when the
//	           last one came, and the lowest in between, which is after the
//	           collection that the relay does itself once a storm of 500
//	           sessions or more is over
//	handshakes full TLS handshakes, beside those of a bare TLS loop
//	setup      full handshakes, LOGIN and SELECT per second, of accounts that
//	           were there before
//	storm      the same when the relay was just started, each account once
//	birth      first logins of accounts per second
//	mailbox    SELECT, a list of all messages and all bodies, of 10 messages and
//	           of 10,000, from files
//	store      the store alone, in this process: deliveries per second, flushed
//	           and not, beside what the bare disk does with the same octets
//	cycle      messages that are delivered, fetched and deleted within a second,
//	           1,000 of them a second, on the store alone
//	open       a start with 100,000 accounts on disk
//	bell       from the acknowledgement of a message to EXISTS at an idle client,
//	           and what each of 100 clients of one account adds
//	receive    signed messages of 16 other servers over port 25, with RSA and
//	           Ed25519, one key for all and another one for each
//	federation from one relay to another, each a process of its own, by SMTP and
//	           by HTTPS: MAIL at the first to EXISTS at an idle client of the
//	           second, and messages of 16 senders
//	isolation  the same delay while 10,000 messages wait for a relay of which
//	           nothing is heard, beside the delay without them
//	queue      a relay with 100,000 messages for another one: memory, start, and
//	           how fast they leave when it is back
//	push       delivery while the push gateway is down and with push off; memory
//	           for 100,000 wake-ups that wait, and how fast they leave over one
//	           connection
//	turn       processor time for each message that TURN relays, memory for an
//	           allocation, and the delay, beside coturn (Debian: coturn), whose
//	           own client is the load of both
//	web        the first page and new accounts per second over kept connections
//	relay      frames between pairs of iroh clients, of both generations, with so
//	           many on their way; a frame of 1 kB from one to another beside a bare
//	           websocket echo; growth of the server's PSS per client that only
//	           answers pings
//
// Where root may mount them, store, cycle and open are measured on two new file
// systems in image files, ext4 with and without a journal: the difference is
// large, and hardly any operator has the latter.
//
// The table goes to standard output, all figures as JSON to -out.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// options are the flags.
type options struct {
	barid    string
	dir      string // for data directories
	out      string // for results
	recorded string
	only     []string
	quick    bool
	idle     int           // connections
	settle   time.Duration // until idle memory is read
	duration time.Duration // of each throughput scenario

	serverCPU, clientCPU int
}

// pinned marks the process that runs on the client's processor.
const pinned = "BARID_BENCH_PINNED"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	err := run(ctx, os.Args[1:])
	if err == nil {
		return
	}
	stop()
	if child, ok := errors.AsType[*exec.ExitError](err); ok && child.Exited() {
		os.Exit(child.ExitCode()) // the pinned one has said why
	}
	fmt.Fprintln(os.Stderr, "bench:", err)
	os.Exit(1)
}

func run(ctx context.Context, args []string) error {
	if len(args) == 1 && args[0] == echoCommand {
		return serveEcho()
	}
	if len(args) == 1 && args[0] == websocketEchoCommand {
		return serveWebsocketEcho()
	}
	if len(args) == 3 && args[0] == togetherCommand {
		return serveTogether(ctx, args[1], args[2])
	}
	o, err := parse(args)
	if err != nil {
		return err
	}
	if os.Getenv(pinned) == "" {
		return pin(ctx, o.clientCPU, args)
	}
	if err := raiseFileLimit(2*o.idle + 1000); err != nil {
		return err
	}
	env, err := lookAround(o)
	if err != nil {
		return err
	}
	// All directories go in the end: creating files costs more for minutes
	// after others were deleted (ext4 without a journal).
	if o.dir, err = os.MkdirTemp(o.dir, "barid-bench-"); err != nil {
		return fmt.Errorf("data directory: %w", err)
	}
	defer os.RemoveAll(o.dir)
	report := Report{Began: time.Now().UTC().Truncate(time.Second), Environment: env}
	report.printHead(os.Stdout)
	for _, s := range scenarios {
		if len(o.only) > 0 && !slices.Contains(o.only, s.name) {
			continue
		}
		fmt.Fprintf(os.Stderr, "%s ...\n", s.name)
		rows, err := s.run(ctx, o)
		if err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
		report.Rows = append(report.Rows, rows...)
	}
	before, err := readReport(o.recorded)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	report.print(os.Stdout, before)
	return report.write(o.out)
}

// scenario measures one thing, in a data directory and with processes of its
// own.
type scenario struct {
	name string
	run  func(context.Context, options) ([]Row, error)
}

var scenarios = []scenario{
	{"latency", latency},
	{"deliver", deliver},
	{"submit", submit},
	{"fanout", fanout},
	{"birth", birth},
	{"handshakes", handshakes},
	{"setup", setup},
	{"storm", reconnects},
	{"mailbox", mailbox},
	{"store", store},
	{"cycle", cycle},
	{"open", opening},
	{"bell", bell},
	{"turn", calls},
	{"push", pushing},
	{"receive", received},
	{"federation", federation},
	{"isolation", isolation},
	{"queue", fullQueue},
	{"idle", idle},
	{"relay", relayed},
	{"web", pages},
}

func parse(args []string) (options, error) {
	var o options
	var only string
	f := flag.NewFlagSet("bench", flag.ContinueOnError)
	f.StringVar(&o.barid, "barid", "bin/barid", "the `program` to measure")
	f.StringVar(&o.dir, "dir", "", "`directory` for data; its disk is part of what is measured (default: the temporary one)")
	f.StringVar(&o.out, "out", "", "`file` for the results as JSON (default: test/bench/results/TIME.json)")
	f.StringVar(&o.recorded, "recorded", "test/bench/recorded.json", "`file` of the run to compare with")
	f.StringVar(&only, "only", "", "`scenarios` to run, with commas between (default: all)")
	f.BoolVar(&o.quick, "quick", false, "short and rough: does everything still work?")
	f.IntVar(&o.idle, "idle", 2000, "idle `connections`; 9500 is the number of the published figures")
	f.DurationVar(&o.settle, "settle", 60*time.Second, "how long idle connections wait until memory is read")
	f.DurationVar(&o.duration, "duration", 15*time.Second, "how long each throughput is measured")
	f.IntVar(&o.serverCPU, "server-cpu", 0, "`processor` of the server")
	f.IntVar(&o.clientCPU, "client-cpu", min(1, runtime.NumCPU()-1), "`processor` of the load")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	if only != "" {
		o.only = strings.Split(only, ",")
	}
	for _, name := range o.only {
		if !slices.ContainsFunc(scenarios, func(s scenario) bool { return s.name == name }) {
			return o, fmt.Errorf("no scenario %q", name)
		}
	}
	if o.quick {
		o.idle, o.settle, o.duration = 200, 2*time.Second, 2*time.Second
	}
	if o.idle < 1 || o.idle > 20_000 || o.duration > 10*time.Minute {
		return o, errors.New("at most 20000 idle connections and 10 minutes")
	}
	if o.out == "" {
		o.out = filepath.Join("test", "bench", "results", time.Now().UTC().Format("20060102-150405")+".json")
	}
	return o, nil
}

// pin starts this program once more, bound to the client's processor.
func pin(ctx context.Context, cpu int, args []string) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	cmd := exec.CommandContext(ctx, "taskset", append([]string{"-c", fmt.Sprint(cpu), self}, args...)...)
	cmd.Env = append(os.Environ(), pinned+"=1")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 30 * time.Second
	return cmd.Run()
}
