//! Every service of gRPC, made of the agent's parts.

use std::sync::Arc;

use super::Agent;
use crate::grpc::{DomainServices, Services, SystemSource};
use crate::host::Processors;
use crate::restart::Restart;
use crate::services::{
    BackupService, CheckService, CollectorService, DomainService, EventService, HistoryService, KeyService,
    LinkService, PortService, SettingsService, Subjects, SystemService, TrafficService, XrayService,
};

impl Agent {
    /// The rules behind every service, over one store and one core.
    pub(super) fn services(&self, restart: &Arc<Restart>, processors: &Arc<Processors>) -> Services {
        let shutdown = restart.shutdown();
        let system = SystemSource {
            state: Arc::clone(&self.state),
            kernel: Arc::clone(&self.kernel),
            reader: Arc::clone(&self.reader),
            store: Arc::clone(&self.store),
        };
        let (store, reconciler) = (|| Arc::clone(&self.store), || self.reconciler.clone());
        let live = || self.live.clone();
        let links = LinkService::new(
            store(),
            reconciler(),
            Arc::clone(&self.reader),
            self.network.clone(),
            live(),
        );
        let settings = SettingsService::new(store(), reconciler(), links.clone(), live(), self.telemetry.clone());
        let xray = XrayService::new(store(), reconciler());
        let ports = PortService::new(store(), reconciler(), Arc::new(self.config.capture.ports.clone()));
        let domain = DomainServices {
            system: SystemService::new(
                store(),
                xray.clone(),
                live(),
                Arc::clone(processors),
                Arc::clone(restart),
            ),
            checks: CheckService::new(Subjects {
                config: live(),
                store: store(),
                state: Arc::clone(&self.state),
                reconciler: reconciler(),
                ports: ports.clone(),
                restart: Arc::clone(restart),
            }),
            keys: KeyService::new(store(), reconciler(), self.config.xray.reality_identity),
            links,
            traffic: TrafficService::new(store(), Arc::clone(&self.reader), Arc::clone(&self.rates)),
            history: HistoryService::new(store()),
            ports,
            xray,
            backups: BackupService::new(store(), reconciler()),
            collector: CollectorService::new(store(), settings.clone(), live()),
            settings,
            events: EventService::new(store()),
            domains: DomainService::new(store(), self.config.xray.access_log),
        };
        Services::new(domain, Arc::new(system), shutdown)
    }
}
