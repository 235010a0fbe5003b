//! The messages of the omni family, which carries nearly every test of netperf 2.5.0 and later.
//!
//! Three generations are listed: 2.7.0, which later releases share; 2.6.0, which differs in the results;
//! and 2.5.0, whose frames are shorter, for whoever has to read one. What the words ask for is judged in
//! [`crate::TestSpec`].

use crate::layout::{AddressWords, Text, layout};

/// Bits of [`OmniRequest::flags`].
pub mod flag {
    /// TCP_NODELAY on the data socket.
    pub const NO_DELAY: u32 = 0x1;
    /// sendfile(2); no server acts on it, and old clients set it by accident.
    pub const SENDFILE: u32 = 0x2;
    /// A connection for every transaction.
    pub const CONNECT_TEST: u32 = 0x4;
    /// The server shall measure CPU.
    pub const MEASURE_CPU: u32 = 0x8;
    /// Two meanings share this bit: the data may be routed (clear sets SO_DONTROUTE), and the server shall
    /// name its congestion control in the results.
    pub const ROUTED_AND_CONGESTION_CONTROL: u32 = 0x20;
    /// TCP_FASTOPEN on the listener.
    pub const FAST_OPEN: u32 = 0x800;
    /// Answer UDP from the address the request came to.
    pub const PACKET_INFO: u32 = 0x2000;
    /// TCP_DEFER_ACCEPT on the listener.
    pub const DEFER_ACCEPT: u32 = 0x8000;
    /// SO_KEEPALIVE on the data socket.
    pub const KEEPALIVE: u32 = 0x8000_0000;
    /// The bits a response means; all others are left over in the server's buffer.
    pub const ANSWERED: u32 = NO_DELAY | MEASURE_CPU;
}

/// Values of [`OmniRequest::direction`], which says what the server does.
pub mod direction {
    /// Accept connections and close them; only with [`super::flag::CONNECT_TEST`].
    pub const CONNECT: u32 = 0;
    /// Send.
    pub const TRANSMIT: u32 = 2;
    /// Receive.
    pub const RECEIVE: u32 = 4;
    /// Answer requests.
    pub const REQUEST_RESPONSE: u32 = 6;
}

/// What [`OmniRequest::ipfamily`] says for IPv4.
pub const FAMILY_V4: u32 = 4;

/// What [`OmniRequest::ipfamily`] says for IPv6.
pub const FAMILY_V6: u32 = 6;

/// What [`OmniRequest::socket_type`] says for a stream.
pub const SOCKET_STREAM: i32 = 1;

/// What [`OmniRequest::socket_type`] says for datagrams.
pub const SOCKET_DATAGRAM: i32 = 2;

/// IP protocol number of TCP.
pub const PROTOCOL_TCP: u32 = 6;

/// IP protocol number of UDP.
pub const PROTOCOL_UDP: u32 = 17;

layout! {
    /// A test wanted by a client of 2.6.0 or later.
    OmniRequest = "OMNI_REQUEST" {
        /// SO_SNDBUF wanted at the server, in bytes; negative: leave it alone.
        send_buf_size: i32 = 8,
        /// Bytes a send of the server; -1: its choice.
        send_size: i32 = 12,
        /// Alignment of the server's send buffers, in bytes.
        send_alignment: u32 = 16,
        /// Offset from that alignment, in bytes.
        send_offset: u32 = 20,
        /// Number of send buffers; 0: as many as the server likes.
        send_width: u32 = 24,
        /// Bytes of a request; positive values are also the server's receive size in any test.
        request_size: i32 = 28,
        /// SO_RCVBUF wanted at the server, in bytes; negative: leave it alone.
        recv_buf_size: i32 = 32,
        /// Bytes a receive of the server; -1 (classic: 0): its choice.
        receive_size: i32 = 36,
        /// Alignment of the server's receive buffers, in bytes.
        recv_alignment: u32 = 40,
        /// Offset from that alignment, in bytes.
        recv_offset: u32 = 44,
        /// Number of receive buffers; 0: as many as the server likes.
        recv_width: u32 = 48,
        /// Bytes of a response; positive values are also the server's send size in any test.
        response_size: i32 = 52,
        /// Bit mask, see [`flag`].
        flags: u32 = 56,
        /// CPU calibration rate the client knows already; 0: the server shall calibrate.
        cpu_rate: f32 = 60,
        /// Seconds if positive, minus the bytes or transactions if negative, without end if 0.
        test_length: i32 = 64,
        /// Whether copies are avoided on receive.
        so_rcvavoid: u32 = 68,
        /// Whether copies are avoided on send.
        so_sndavoid: u32 = 72,
        /// Bytes to write into each send buffer; -1: none.
        send_dirty_count: i32 = 76,
        /// Bytes to write into each receive buffer; -1: none.
        recv_dirty_count: i32 = 80,
        /// Bytes to read from each receive buffer; -1: none.
        recv_clean_count: i32 = 84,
        /// Port the server shall bind for the data; 0: any.
        data_port: u32 = 88,
        /// 0 unspecified, 4 IPv4, 6 IPv6, 7 RDS.
        ipfamily: u32 = 92,
        /// 1 stream, 2 datagram, 3 DCCP, 4 packets in sequence, -1 unknown.
        socket_type: i32 = 96,
        /// IP protocol number; 0: by the socket type.
        protocol: u32 = 100,
        /// What the server does, see [`direction`].
        direction: u32 = 104,
        /// Port of the client's data socket; 0 if it is not bound.
        netperf_port: u32 = 108,
        /// Sends an interval; 0: no pacing.
        interval_burst: u32 = 112,
        /// Length of an interval in microseconds.
        interval_usecs: u32 = 116,
        /// Address of the client's data socket; zero if it is not bound.
        netperf_ip: AddressWords = 120,
        /// Address the server shall bind; zero: any.
        netserver_ip: AddressWords = 136,
        /// SO_PRIORITY wanted; negative: leave it alone.
        socket_prio: i32 = 152,
        /// IP_TOS or traffic class wanted; negative: leave it alone.
        socket_tos: i32 = 156,
        /// Congestion control wanted; empty: the default.
        cong_control: Text<16> = 160,
        /// File on the server's host with what to send. We never open it.
        fill_file: Text<32> = 176,
    }

    /// The data socket is ready, as said by 2.6.0 and later.
    OmniResponse = "OMNI_RESPONSE" {
        /// SO_RCVBUF as the server's kernel reports it, in bytes.
        recv_buf_size: i32 = 8,
        /// Bytes a receive of the server; the request's value if it does not receive.
        receive_size: i32 = 12,
        /// Number of receive buffers; 0: as many as the server likes.
        recv_width: i32 = 16,
        /// SO_SNDBUF as the server's kernel reports it, in bytes.
        send_buf_size: i32 = 20,
        /// Bytes a send of the server; the request's value if it does not send.
        send_size: i32 = 24,
        /// Number of send buffers; 0: as many as the server likes.
        send_width: i32 = 28,
        /// Bit mask of which only [`flag::ANSWERED`] is meant; the rest is left over from other messages.
        flags: u32 = 32,
        /// CPU calibration rate; 0 if CPU is not measured.
        cpu_rate: f32 = 36,
        /// Not written by netperf's server, or an echo.
        test_length: u32 = 40,
        /// Whether copies are avoided on receive.
        so_rcvavoid: u32 = 44,
        /// Whether copies are avoided on send.
        so_sndavoid: u32 = 48,
        /// Port the server has bound for the data.
        data_port: u32 = 52,
        /// Sends an interval; 0: no pacing.
        interval_burst: u32 = 56,
        /// Length of an interval in microseconds.
        interval_usecs: u32 = 60,
        /// CPU clock in MHz; written by 2.6.0 and older only.
        cpu_frequency: u32 = 64,
        /// Security module and its state; written by 2.6.0 and older only.
        security_info: u32 = 68,
        /// SO_PRIORITY in force; -1 untouched, -2 refused by the kernel, -3 unknown there.
        socket_prio: i32 = 72,
        /// IP_TOS in force; -1 untouched, -2 refused by the kernel.
        socket_tos: i32 = 76,
        /// Model of the machine; written by 2.6.0 and older only.
        system_model: Text<33> = 80,
        /// Model of the CPU; written by 2.6.0 and older only.
        cpu_model: Text<80> = 113,
        /// More on the security module; written by 2.6.0 and older only.
        security_string: Text<16> = 193,
    }

    /// The test is over, as said by 2.7.0 and later: 27 words.
    OmniResults = "OMNI_RESULTS" {
        /// High 32 bits of the bytes the server received.
        bytes_received_hi: u32 = 8,
        /// Low 32 bits of the same.
        bytes_received_lo: u32 = 12,
        /// Receives that returned data, modulo 2^32.
        recv_calls: u32 = 16,
        /// SO_RCVBUF at the end of the test, in bytes.
        recv_buf_size: i32 = 20,
        /// High 32 bits of the bytes the server sent.
        bytes_sent_hi: u32 = 24,
        /// Low 32 bits of the same.
        bytes_sent_lo: u32 = 28,
        /// Sends that succeeded, modulo 2^32.
        send_calls: u32 = 32,
        /// SO_SNDBUF at the end of the test, in bytes.
        send_buf_size: i32 = 36,
        /// Not written by any release.
        failed_sends: u32 = 40,
        /// Transactions completed, modulo 2^32; 0 in a stream.
        trans_received: u32 = 44,
        /// Seconds by the server's clock, grace at the end not counted.
        elapsed_time: f32 = 48,
        /// Percent of all CPUs in use; only written if CPU was to be measured.
        cpu_util: f32 = 52,
        /// The part of it in user mode.
        cpu_percent_user: f32 = 56,
        /// The part of it in the kernel.
        cpu_percent_system: f32 = 60,
        /// Percent of all CPUs waiting for input or output.
        cpu_percent_iowait: f32 = 64,
        /// The part of it in interrupts.
        cpu_percent_irq: f32 = 68,
        /// The part of it in soft interrupts.
        cpu_percent_swintr: f32 = 72,
        /// Not written by any release; the client computes it.
        serv_dem: f32 = 76,
        /// How CPU was measured: 0 not at all, 8 from /proc/stat.
        cpu_method: u32 = 80,
        /// CPUs of the server.
        num_cpus: u32 = 84,
        /// The busiest CPU; only written if CPU was to be measured.
        peak_cpu_id: i32 = 88,
        /// Percent of that CPU in use.
        peak_cpu_util: f32 = 92,
        /// PCI vendor of the interface; only 2.6.0 and older, -2 if not asked for.
        vendor: i32 = 96,
        /// PCI device of it.
        device: i32 = 100,
        /// PCI subsystem vendor of it.
        subvendor: i32 = 104,
        /// PCI subsystem device of it.
        subdevice: i32 = 108,
        /// Segments TCP sent again; -1 if unknown.
        transport_retrans: i32 = 112,
        /// Interface name; only 2.6.0 and older.
        ifname: Text<16> = 116,
        /// Its driver.
        driver: Text<32> = 132,
        /// Version of the driver.
        version: Text<32> = 164,
        /// Its firmware.
        firmware: Text<32> = 196,
        /// Its place on the bus.
        bus: Text<32> = 228,
        /// Its slot.
        ifslot: Text<16> = 260,
        /// Congestion control in force at the end.
        cong_control: Text<16> = 276,
    }

    /// The test is over, as said by 2.6.0: 22 words.
    OmniResults260 = "OMNI_RESULTS_260" {
        /// High 32 bits of the bytes the server received.
        bytes_received_hi: u32 = 8,
        /// Low 32 bits of the same.
        bytes_received_lo: u32 = 12,
        /// Receives that returned data, modulo 2^32.
        recv_calls: u32 = 16,
        /// SO_RCVBUF at the end of the test, in bytes.
        recv_buf_size: i32 = 20,
        /// High 32 bits of the bytes the server sent.
        bytes_sent_hi: u32 = 24,
        /// Low 32 bits of the same.
        bytes_sent_lo: u32 = 28,
        /// Sends that succeeded, modulo 2^32.
        send_calls: u32 = 32,
        /// SO_SNDBUF at the end of the test, in bytes.
        send_buf_size: i32 = 36,
        /// Not written by any release.
        failed_sends: u32 = 40,
        /// Transactions completed, modulo 2^32; 0 in a stream.
        trans_received: u32 = 44,
        /// Seconds by the server's clock, grace at the end not counted.
        elapsed_time: f32 = 48,
        /// Percent of all CPUs in use; only written if CPU was to be measured.
        cpu_util: f32 = 52,
        /// Not written by any release; the client computes it.
        serv_dem: f32 = 56,
        /// How CPU was measured: 0 not at all, 8 from /proc/stat.
        cpu_method: u32 = 60,
        /// CPUs of the server.
        num_cpus: u32 = 64,
        /// The busiest CPU; only written if CPU was to be measured.
        peak_cpu_id: i32 = 68,
        /// Percent of that CPU in use.
        peak_cpu_util: f32 = 72,
        /// PCI vendor of the interface; only 2.6.0 and older, -2 if not asked for.
        vendor: i32 = 76,
        /// PCI device of it.
        device: i32 = 80,
        /// PCI subsystem vendor of it.
        subvendor: i32 = 84,
        /// PCI subsystem device of it.
        subdevice: i32 = 88,
        /// Segments TCP sent again; -1 if unknown.
        transport_retrans: i32 = 92,
        /// Interface name; only 2.6.0 and older.
        ifname: Text<16> = 96,
        /// Its driver.
        driver: Text<32> = 112,
        /// Version of the driver.
        version: Text<32> = 144,
        /// Its firmware.
        firmware: Text<32> = 176,
        /// Its place on the bus.
        bus: Text<32> = 208,
        /// Its slot.
        ifslot: Text<16> = 240,
        /// Congestion control in force at the end.
        cong_control: Text<16> = 256,
    }

    /// A test wanted by a client of 2.5.0, in frames of 256 bytes.
    OmniRequest250 = "OMNI_REQUEST_250" {
        /// SO_SNDBUF wanted at the server, in bytes; negative: leave it alone.
        send_buf_size: i32 = 8,
        /// Bytes a send of the server; -1: its choice.
        send_size: i32 = 12,
        /// Alignment of the server's send buffers, in bytes.
        send_alignment: u32 = 16,
        /// Offset from that alignment, in bytes.
        send_offset: u32 = 20,
        /// Number of send buffers; 0: as many as the server likes.
        send_width: u32 = 24,
        /// Bytes of a request; positive values are also the server's receive size in any test.
        request_size: i32 = 28,
        /// SO_RCVBUF wanted at the server, in bytes; negative: leave it alone.
        recv_buf_size: i32 = 32,
        /// Bytes a receive of the server; -1 (classic: 0): its choice.
        receive_size: i32 = 36,
        /// Alignment of the server's receive buffers, in bytes.
        recv_alignment: u32 = 40,
        /// Offset from that alignment, in bytes.
        recv_offset: u32 = 44,
        /// Number of receive buffers; 0: as many as the server likes.
        recv_width: u32 = 48,
        /// Bytes of a response; positive values are also the server's send size in any test.
        response_size: i32 = 52,
        /// Bit mask, see [`flag`].
        flags: u32 = 56,
        /// CPU calibration rate the client knows already; 0: the server shall calibrate.
        cpu_rate: f32 = 60,
        /// Seconds if positive, minus the bytes or transactions if negative, without end if 0.
        test_length: i32 = 64,
        /// Whether copies are avoided on receive.
        so_rcvavoid: u32 = 68,
        /// Whether copies are avoided on send.
        so_sndavoid: u32 = 72,
        /// Bytes to write into each send buffer; -1: none.
        send_dirty_count: i32 = 76,
        /// Bytes to write into each receive buffer; -1: none.
        recv_dirty_count: i32 = 80,
        /// Bytes to read from each receive buffer; -1: none.
        recv_clean_count: i32 = 84,
        /// Port the server shall bind for the data; 0: any.
        data_port: u32 = 88,
        /// 0 unspecified, 4 IPv4, 6 IPv6, 7 RDS.
        ipfamily: u32 = 92,
        /// 1 stream, 2 datagram, 3 DCCP, 4 packets in sequence, -1 unknown.
        socket_type: i32 = 96,
        /// IP protocol number; 0: by the socket type.
        protocol: u32 = 100,
        /// What the server does, see [`direction`].
        direction: u32 = 104,
        /// Port of the client's data socket; 0 if it is not bound.
        netperf_port: u32 = 108,
        /// Sends an interval; 0: no pacing.
        interval_burst: u32 = 112,
        /// Length of an interval in microseconds.
        interval_usecs: u32 = 116,
        /// Address of the client's data socket; zero if it is not bound.
        netperf_ip: AddressWords = 120,
        /// Address the server shall bind; zero: any.
        netserver_ip: AddressWords = 136,
    }

    /// The data socket is ready, as said by 2.5.0.
    OmniResponse250 = "OMNI_RESPONSE_250" {
        /// SO_RCVBUF as the server's kernel reports it, in bytes.
        recv_buf_size: i32 = 8,
        /// Bytes a receive of the server; the request's value if it does not receive.
        receive_size: i32 = 12,
        /// Number of receive buffers; 0: as many as the server likes.
        recv_width: i32 = 16,
        /// SO_SNDBUF as the server's kernel reports it, in bytes.
        send_buf_size: i32 = 20,
        /// Bytes a send of the server; the request's value if it does not send.
        send_size: i32 = 24,
        /// Number of send buffers; 0: as many as the server likes.
        send_width: i32 = 28,
        /// Bit mask of which only [`flag::ANSWERED`] is meant; the rest is left over from other messages.
        flags: u32 = 32,
        /// CPU calibration rate; 0 if CPU is not measured.
        cpu_rate: f32 = 36,
        /// Not written by netperf's server, or an echo.
        test_length: u32 = 40,
        /// Whether copies are avoided on receive.
        so_rcvavoid: u32 = 44,
        /// Whether copies are avoided on send.
        so_sndavoid: u32 = 48,
        /// Port the server has bound for the data.
        data_port: u32 = 52,
        /// Sends an interval; 0: no pacing.
        interval_burst: u32 = 56,
        /// Length of an interval in microseconds.
        interval_usecs: u32 = 60,
        /// CPU clock in MHz; written by 2.6.0 and older only.
        cpu_frequency: u32 = 64,
        /// Security module and its state; written by 2.6.0 and older only.
        security_info: u32 = 68,
        /// Model of the machine; written by 2.6.0 and older only.
        system_model: Text<33> = 72,
        /// Model of the CPU; written by 2.6.0 and older only.
        cpu_model: Text<80> = 105,
        /// More on the security module; written by 2.6.0 and older only.
        security_string: Text<16> = 185,
    }

    /// The test is over, as said by 2.5.0.
    OmniResults250 = "OMNI_RESULTS_250" {
        /// High 32 bits of the bytes the server received.
        bytes_received_hi: u32 = 8,
        /// Low 32 bits of the same.
        bytes_received_lo: u32 = 12,
        /// Receives that returned data, modulo 2^32.
        recv_calls: u32 = 16,
        /// SO_RCVBUF at the end of the test, in bytes.
        recv_buf_size: i32 = 20,
        /// High 32 bits of the bytes the server sent.
        bytes_sent_hi: u32 = 24,
        /// Low 32 bits of the same.
        bytes_sent_lo: u32 = 28,
        /// Sends that succeeded, modulo 2^32.
        send_calls: u32 = 32,
        /// SO_SNDBUF at the end of the test, in bytes.
        send_buf_size: i32 = 36,
        /// Not written by any release.
        failed_sends: u32 = 40,
        /// Transactions completed, modulo 2^32; 0 in a stream.
        trans_received: u32 = 44,
        /// Seconds by the server's clock, grace at the end not counted.
        elapsed_time: f32 = 48,
        /// Percent of all CPUs in use; only written if CPU was to be measured.
        cpu_util: f32 = 52,
        /// Not written by any release; the client computes it.
        serv_dem: f32 = 56,
        /// How CPU was measured: 0 not at all, 8 from /proc/stat.
        cpu_method: u32 = 60,
        /// CPUs of the server.
        num_cpus: u32 = 64,
        /// The busiest CPU; only written if CPU was to be measured.
        peak_cpu_id: i32 = 68,
        /// Percent of that CPU in use.
        peak_cpu_util: f32 = 72,
        /// PCI vendor of the interface; only 2.6.0 and older, -2 if not asked for.
        vendor: i32 = 76,
        /// PCI device of it.
        device: i32 = 80,
        /// PCI subsystem vendor of it.
        subvendor: i32 = 84,
        /// PCI subsystem device of it.
        subdevice: i32 = 88,
        /// Interface name; only 2.6.0 and older.
        ifname: Text<16> = 92,
        /// Its driver.
        driver: Text<32> = 108,
        /// Version of the driver.
        version: Text<32> = 140,
        /// Its firmware.
        firmware: Text<32> = 172,
        /// Its place on the bus.
        bus: Text<32> = 204,
        /// Its slot.
        ifslot: Text<16> = 236,
    }
}
