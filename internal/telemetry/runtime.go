package telemetry

import (
	"bytes"
	"context"
	"os"
	"runtime"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"
)

// Runtime is what Go and the kernel know of this process, under the names that Prometheus' own libraries give them.
type Runtime struct {
	Version string // of gitd

	build, info, goroutines, threads, heap, total, gcs, allocated, frees, cpu, resident, virtual, descriptors, maxDescriptors, started *Metric
}

func newRuntime(r *registry) Runtime {
	return Runtime{
		build:          r.gauge(TypeGauge, "gitd_build_info", "The version of gitd; always 1.", "version"),
		info:           r.gauge(TypeGauge, "go_info", "The version of Go; always 1.", "version"),
		goroutines:     r.gauge(TypeGauge, "go_goroutines", "Goroutines."),
		threads:        r.gauge(TypeGauge, "go_threads", "Threads of the operating system."),
		heap:           r.gauge(TypeGauge, "go_memstats_heap_alloc_bytes", "Bytes of heap that are in use."),
		total:          r.gauge(TypeGauge, "go_memstats_sys_bytes", "Bytes of memory that Go has from the operating system."),
		gcs:            r.gauge(TypeCounter, "go_gc_cycles_total_gc_cycles_total", "Garbage collections."),
		allocated:      r.gauge(TypeCounter, "go_memstats_mallocs_total", "Objects that were allocated on the heap."),
		frees:          r.gauge(TypeCounter, "go_memstats_frees_total", "Objects of the heap that were freed."),
		cpu:            r.gauge(TypeCounter, "process_cpu_seconds_total", "Processor time of this process, in user and kernel."),
		resident:       r.gauge(TypeGauge, "process_resident_memory_bytes", "Resident memory of this process."),
		virtual:        r.gauge(TypeGauge, "process_virtual_memory_bytes", "Virtual memory of this process."),
		descriptors:    r.gauge(TypeGauge, "process_open_fds", "Open file descriptors."),
		maxDescriptors: r.gauge(TypeGauge, "process_max_fds", "Most file descriptors that may be open."),
		started:        r.gauge(TypeGauge, "process_start_time_seconds", "When this process began, in seconds since 1970."),
	}
}

func (r *Runtime) scrape(_ context.Context, s *Scrape) {
	if r.Version != "" {
		s.Add(r.build, 1, r.Version)
	}
	s.Add(r.info, 1, runtime.Version())
	s.Add(r.goroutines, float64(runtime.NumGoroutine()))
	var m runtime.MemStats
	runtime.ReadMemStats(&m) // it stops the world, for some 30 µs
	s.Add(r.heap, float64(m.HeapAlloc))
	s.Add(r.total, float64(m.Sys))
	s.Add(r.gcs, float64(m.NumGC))
	s.Add(r.allocated, float64(m.Mallocs))
	s.Add(r.frees, float64(m.Frees))
	r.process(s)
}

// ticks is USER_HZ, in which the kernel tells times to programs: 100 on every architecture that Go has.
const ticks = 100

// process reads what the kernel says in /proc.
func (r *Runtime) process(s *Scrape) {
	var usage unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &usage) == nil {
		s.Add(r.cpu, float64(usage.Utime.Nano()+usage.Stime.Nano())/1e9)
	}
	stat, err := os.ReadFile("/proc/self/stat")
	if i := bytes.LastIndexByte(stat, ')'); err == nil && i > 0 { // the name may have spaces
		fields := bytes.Fields(stat[i+1:])
		number := func(field int) float64 { // as numbered in proc_pid_stat(5)
			if field-3 >= len(fields) {
				return 0
			}
			n, _ := strconv.ParseFloat(string(fields[field-3]), 64)
			return n
		}
		s.Add(r.threads, number(20))
		s.Add(r.virtual, number(23))
		s.Add(r.resident, number(24)*float64(os.Getpagesize()))
		if boot := bootTime(); boot > 0 {
			s.Add(r.started, boot+number(22)/ticks)
		}
	}
	if d, err := os.Open("/proc/self/fd"); err == nil {
		names, _ := d.Readdirnames(-1)
		d.Close()
		s.Add(r.descriptors, float64(len(names)-1)) // without the one of the folder
	}
	var limit unix.Rlimit
	if unix.Getrlimit(unix.RLIMIT_NOFILE, &limit) == nil {
		s.Add(r.maxDescriptors, float64(limit.Cur))
	}
}

// bootTime is when the machine started, in seconds since 1970; 0 where the kernel does not say.
var bootTime = sync.OnceValue(func() float64 {
	stat, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	_, rest, ok := bytes.Cut(stat, []byte("\nbtime "))
	if !ok {
		return 0
	}
	line, _, _ := bytes.Cut(rest, []byte("\n"))
	n, _ := strconv.ParseFloat(string(line), 64)
	return n
})
